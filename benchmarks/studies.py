"""What processes gain in a study: `python -m benchmarks.studies`.

Two critics are trained, one after the other on all cores or side by side: on the demo's maze and
evaluated, or on the value benchmark. The forms take turns, so that whatever else the machine does
meets both.
"""

import argparse
import functools
import json
import os
import tempfile
import typing
from pathlib import Path

from benchmarks.processes import compared
from benchmarks.timing import machine
from floq.data.generation import generate
from floq.data.paths import dataset_name
from floq.presets import demo
from floq.studies.runner import run_study
from floq.studies.study import GroundName

_TRAJECTORIES = 100


def main() -> None:
    """Measures both forms and writes them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies")
    parser.add_argument("--ground", choices=typing.get_args(GroundName), default="control")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=demo.STEPS, help="of each critic and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("studies.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="floq-benchmark-") as folder:
        if options.ground == "control":
            generate(
                dataset_name(demo.TASK),
                episodes=_TRAJECTORIES,
                processes=2,
                directory=Path(folder),
                progress=False,
            )
            os.environ["FLOQ_DATA"] = folder
        parts = {
            name: functools.partial(
                study, options.ground, options.updates, options.seeds, processes
            )
            for name, processes in (("serial", 1), ("processes", 2))
        }
        found = {
            **machine(),
            "ground": options.ground,
            "updates": options.updates,
            "seeds": options.seeds,
            **compared(parts, "processes", options.rounds),
        }
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def study(ground: GroundName, updates: int, seeds: list[int], processes: int) -> None:
    """Trains two flows, from nothing, and looks what became of them."""
    with tempfile.TemporaryDirectory(prefix="floq-benchmark-") as folder:
        run_study(
            "integration-steps",
            ground=ground,
            task=demo.TASK,
            seeds=seeds,
            variants=("K=4", "K=8"),
            updates=updates,
            processes=processes,
            directory=folder,
            progress=False,
        )


if __name__ == "__main__":
    main()
