"""A run's rows in pandas (pip install pandas): a table of success, and a curve of losses.

python examples/own_environment.py runs/reach
python examples/to_pandas.py runs/reach
"""

import sys

import pandas  # pyright: ignore[reportMissingImports] - no dependency of floq

import floq


def main(directory: str = "runs/reach") -> None:
    run = floq.load_run(directory)
    # One row for each step and seed (and policy), as in metrics.jsonl and evaluations.jsonl.
    metrics, evaluations = pandas.DataFrame(run.metrics), pandas.DataFrame(run.evaluations)
    # Without floq: pandas.read_json("runs/reach/metrics.jsonl", lines=True).
    print(evaluations.pivot_table(index="step", columns="policy", values="success"))
    print(metrics.groupby("step").mean().drop(columns="seed").describe())
    evaluations.to_csv(run.directory / "evaluations.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
