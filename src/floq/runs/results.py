"""What a run's evaluations come to: figures per policy, with intervals over seeds."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.intervals import Interval, figure_interval
from floq.runs.directory import (
    EVALUATIONS,
    METRICS,
    TIMINGS,
    RunConfig,
    complete_files,
    read_rows,
)
from floq.runs.run import Run


class PolicyResult(NamedTuple):
    """One evaluation of one policy, over all seeds.

    Attributes:
        policy: The algorithm's name, or "bc" for the behaviour-cloned policy of the same run.
        step: Updates that led to the policy.
        figure: "success", or "return" where the environment reports no success.
        per_seed: The figure of each seed, in the order of the run's seeds.
        interval: The figure's mean over seeds, and its 95 % interval.
        episodes: Episodes of each seed.
        mean_return: Mean undiscounted return over seeds.
        mean_length: Mean steps of an episode over seeds.
    """

    policy: str
    step: int
    figure: str
    per_seed: tuple[float, ...]
    interval: Interval
    episodes: int
    mean_return: float
    mean_length: float


def results(run: Run) -> dict[str, list[PolicyResult]]:
    """The run's evaluations by policy, each in order of steps.

    A step of which rows are missing is passed over: a killed process leaves such.

    Raises:
        ValueError: If the file is not sound.
    """
    expected = run.config.rows_per_step[EVALUATIONS]
    found: dict[str, list[PolicyResult]] = {}
    with sound_rows(run.directory / EVALUATIONS) as listed:
        for rows in _complete_steps(listed, expected):
            by_policy: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for row in rows:
                by_policy[row["policy"]].append(row)
            for policy, own in by_policy.items():
                found.setdefault(policy, []).append(_result(own, run.config.seeds))
    return found


def metrics(run: Run) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The run's metrics by name, [seeds, points], and the steps of the points, [points].

    Raises:
        ValueError: If the file is not sound.
    """
    with sound_rows(run.directory / METRICS) as rows:
        steps = _complete_steps(rows, run.config.rows_per_step[METRICS])
        ordered = [[_row_of(rows, seed) for rows in steps] for seed in run.config.seeds]
        names = [] if not steps else [name for name in steps[0][0] if name not in ("step", "seed")]
        values = {
            name: np.array([[row[name] for row in rows] for rows in ordered], float)
            for name in names
        }
    return np.array([rows[0]["step"] for rows in steps]), values


def timing(run: Run) -> tuple[float | None, float | None]:
    """Seconds that the run took up to its last log, and its median updates a second.

    The seconds hold everything, the rate holds updates alone; None if nothing was logged.

    Raises:
        ValueError: If the file is not sound.
    """
    with sound_rows(run.directory / TIMINGS) as rows:
        if not rows:
            return None, None
        seconds = [float(row["seconds"]) for row in rows]
        return seconds[-1], float(np.median([row["updates_per_second"] for row in rows]))


def hours_at(run: Run, steps: np.ndarray) -> np.ndarray | None:
    """The hours that the run had taken at some of its steps, [points]; None if nothing was logged.

    Between logs the time is taken to pass evenly.
    """
    with sound_rows(run.directory / TIMINGS) as rows:
        if not rows:
            return None
        known = [(0, 0.0), *((row["step"], row["seconds"] / 3600) for row in rows)]
    return np.interp(steps, *np.array(known).T)


def summary(run: Run) -> dict[str, Any]:
    """The run's result at its last evaluation, never at its best, as a JSON-able dictionary.

    Its keys are `task`, `steps`, `seconds`, `seeds` and `algorithms`. The latter holds for each
    policy ("bc" and the algorithm's own) the mean over seeds as `success`, its 95 % `interval` (see
    `floq.intervals.success_interval`; its ends are None where nothing bounds them),
    and `per_seed`, in the order of `seeds`. Where the environment reports no success, `return`
    stands in place of `success`. `algorithms` is empty if there is no complete evaluation; else
    `steps` counts the updates before it.
    """
    last = {policy: found[-1] for policy, found in sorted(results(run).items())}
    return {
        "task": task_title(run),
        "steps": max((result.step for result in last.values()), default=run.step),
        "seconds": timing(run)[0],
        "seeds": list(run.config.seeds),
        "algorithms": {
            policy: {
                result.figure: result.interval.mean,
                "interval": result.interval.ends,
                "per_seed": list(result.per_seed),
            }
            for policy, result in last.items()
        },
    }


def task_title(run: Run) -> str:
    """The run's task, or its environment if the task is not one of floq's."""
    config = run.config
    if config.task is not None:
        return config.task
    return "own data" if config.environment is None else config.environment.id


def has_last_rows(directory: Path, config: RunConfig) -> bool:
    """Whether a run has all rows of its last step; a stop in its last evaluation leaves some out.

    Raises:
        ValueError: If a file is not sound.
    """
    expected = {name: count for name, count in config.rows_per_step.items() if count}
    if config.online:
        # Where the last steps came to no update, they left no other rows.
        expected = {name: count for name, count in expected.items() if name == EVALUATIONS}
    return complete_files(directory, expected, config.total_steps) == expected.keys()


def unit_of(*runs: Run) -> str:
    """What the steps of runs are called: updates, if none of them goes on in an environment."""
    return "steps" if any(run.config.online for run in runs) else "updates"


@contextmanager
def sound_rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, for a block that reads what such rows have.

    Raises:
        ValueError: If a line is not a row, or a row lacks something, or has something else there.
    """
    rows = read_rows(path)
    try:
        yield rows
    except (IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: a row lacks what rows have ({error!r}): the file is damaged. Remove the row "
            "to go on without it."
        ) from error


def _complete_steps(rows: Sequence[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    """The rows of each step that has all of them, in order of steps."""
    by_step: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_step[row["step"]].append(row)
    return [by_step[step] for step in sorted(by_step) if len(by_step[step]) == count]


def _row_of(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    return next(row for row in rows if row["seed"] == seed)


def _result(rows: Sequence[dict[str, Any]], seeds: Sequence[int]) -> PolicyResult:
    """One policy's rows of one step."""
    rows = [_row_of(rows, seed) for seed in seeds]
    figure = "success" if "success" in rows[0] else "return"
    per_seed = tuple(float(row[figure]) for row in rows)
    episodes = rows[0]["episodes"]
    return PolicyResult(
        policy=rows[0]["policy"],
        step=rows[0]["step"],
        figure=figure,
        per_seed=per_seed,
        interval=figure_interval(figure, per_seed, episodes),
        episodes=episodes,
        mean_return=float(np.mean([row["return"] for row in rows])),
        mean_length=float(np.mean([row["length"] for row in rows])),
    )
