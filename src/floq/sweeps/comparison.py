"""What a sweep's table comes to: its methods on each task, and against each other over tasks.

A method is an algorithm of the spec with the settings that vary. Only finished rows count. The
statistics over tasks are those of `floq.intervals`, of success rates alone: returns
of different tasks are not on one scale.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from floq.data.paths import dataset_name
from floq.intervals import (
    Interval,
    Scores,
    bootstrap_interval,
    figure_interval,
    improvement_probability,
    interquartile_mean,
    performance_profile,
    task_mean,
)
from floq.presets.published import published_mean
from floq.sweeps.table import SweepRow
from floq.tasks import task_names

THRESHOLDS = np.linspace(0, 1, 101)
"""Success rates at which profiles are read."""


class Cell(NamedTuple):
    """A method on a task.

    Attributes:
        task: The task.
        method: The method's name.
        label: What its algorithm is called in the spec.
        steps: Updates of each seed.
        planned: Rows that the table has of it.
        seeds: The seeds that are finished and have a figure.
        figure: "success", or "return" where the environment reports no success.
        per_seed: The figure of each of them.
        episodes: Episodes of each of them, at least.
        interval: The figure's mean with its 95 % interval; None without a seed.
    """

    task: str
    method: str
    label: str
    steps: int
    planned: int
    seeds: tuple[int, ...]
    figure: str
    per_seed: tuple[float, ...]
    episodes: int
    interval: Interval | None

    @property
    def published(self) -> float | None:
        """The published success rate on the task, if there is one."""
        return _published([self.task], self)


class DatasetMean(NamedTuple):
    """The mean success of a method over the tasks of a dataset.

    Attributes:
        dataset: The dataset.
        method: The method's name.
        tasks: Tasks that have a finished seed.
        planned: Tasks that the table has.
        mean: The mean over these tasks, with its bootstrap interval.
        published: The published mean, where all five tasks are there.
    """

    dataset: str
    method: str
    tasks: int
    planned: int
    mean: Interval
    published: float | None


class Overall(NamedTuple):
    """A method over the tasks that all methods share.

    Attributes:
        method: The method's name.
        interquartile: The interquartile mean, with its bootstrap interval.
        mean: The mean over tasks, likewise.
        published: The published mean, where the tasks are those that it is of.
    """

    method: str
    interquartile: Interval
    mean: Interval
    published: float | None


class Improvement(NamedTuple):
    """How probably one method beats another.

    Attributes:
        method: The one.
        other: The other.
        tasks: Tasks that both have.
        probability: Mean over these tasks, with its bootstrap interval; None if there are none.
    """

    method: str
    other: str
    tasks: int
    probability: Interval | None


class Profile(NamedTuple):
    """The share of a method's runs above each of `THRESHOLDS`.

    Attributes:
        method: The method's name.
        shares: The shares, [thresholds].
        band: Ends of their bootstrap intervals, [2, thresholds]; infinite where nothing bounds it.
    """

    method: str
    shares: np.ndarray
    band: np.ndarray


def cells_of(rows: Iterable[SweepRow]) -> list[Cell]:
    """The cells of a table, in the order of its rows.

    Trials of searches are methods of their own, so that the rows of a grid and those of a search
    are better given one after the other.
    """
    rows = list(rows)
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for key, value in row.settings.items():
            values[row.algorithm, key].add(value)
    groups: dict[tuple[str, str], list[SweepRow]] = defaultdict(list)
    for row in rows:
        shown = {
            key: value
            for key, value in row.settings.items()
            if row.trial is not None or len(values[row.algorithm, key]) > 1
        }
        groups[row.task, _method_name(row, shown)].append(row)
    return [_cell(method, own) for (_, method), own in groups.items()]


def methods_of(cells: Iterable[Cell]) -> list[str]:
    """The methods that have a success rate anywhere."""
    return list(dict.fromkeys(cell.method for cell in cells if _counts(cell)))


def shared_tasks(cells: Sequence[Cell], methods: Iterable[str]) -> list[str]:
    """The tasks on which each of these methods has a success rate."""
    methods = list(methods)
    found: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if _counts(cell):
            found[cell.task].add(cell.method)
    return [task for task, own in found.items() if methods and own.issuperset(methods)]


def dataset_means(cells: Sequence[Cell]) -> list[DatasetMean]:
    """The means over each dataset's tasks, dataset by dataset."""
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for dataset in dict.fromkeys(_dataset(cell.task) for cell in cells):
        for cell in cells:
            if _dataset(cell.task) == dataset:
                groups[dataset, cell.method].append(cell)
    found = []
    for (dataset, method), own in groups.items():
        scores = _scores(own, method, [cell.task for cell in own if _counts(cell)])
        if scores:
            published = _published(scores, own[0])
            mean = _bootstrapped(task_mean, scores)
            found.append(DatasetMean(dataset, method, len(scores), len(own), mean, published))
    return found


def overall(cells: Sequence[Cell]) -> list[Overall]:
    """Each method over the tasks that all share; nothing if there are none."""
    found = []
    for method, scores in _shared_scores(cells).items():
        published = _published(scores, next(cell for cell in cells if cell.method == method))
        found.append(
            Overall(
                method,
                _bootstrapped(interquartile_mean, scores),
                _bootstrapped(task_mean, scores),
                published,
            )
        )
    return found


def improvements(cells: Sequence[Cell]) -> list[Improvement]:
    """Each pair of methods, on the tasks that the two share."""
    found = []
    for pair in itertools.combinations(methods_of(cells), 2):
        tasks = shared_tasks(cells, pair)
        probability = None
        if tasks:
            scores = [_scores(cells, method, tasks) for method in pair]
            probability = _bootstrapped(improvement_probability, *scores)
        found.append(Improvement(*pair, len(tasks), probability))
    return found


def profiles(cells: Sequence[Cell]) -> list[Profile]:
    """The performance profiles over the tasks that all methods share."""
    found = []
    for method, scores in _shared_scores(cells).items():
        shares, *ends = bootstrap_interval(
            lambda drawn: performance_profile(drawn, THRESHOLDS), scores
        )
        found.append(Profile(method, shares, np.array(ends)))
    return found


def _method_name(row: SweepRow, shown: dict[str, str]) -> str:
    name = row.algorithm if row.trial is None else f"{row.algorithm}, trial {row.trial}"
    settings = ", ".join(f"{key}={value}" for key, value in shown.items())
    return f"{name} ({settings})" if settings else name


def _cell(method: str, rows: Sequence[SweepRow]) -> Cell:
    found = [row for row in rows if row.status == "finished" and row.figure is not None]
    figure = "success" if all(row.success is not None for row in found) else "return"
    values = [row.success if figure == "success" else row.mean_return for row in found]
    per_seed = tuple(value for value in values if value is not None)
    episodes = min((row.episodes or 1 for row in found), default=0)
    return Cell(
        task=rows[0].task,
        method=method,
        label=rows[0].algorithm,
        steps=rows[0].steps,
        planned=len(rows),
        seeds=tuple(row.seed for row in found),
        figure=figure,
        per_seed=per_seed,
        episodes=episodes,
        interval=figure_interval(figure, per_seed, episodes) if per_seed else None,
    )


def _counts(cell: Cell) -> bool:
    return cell.figure == "success" and bool(cell.per_seed)


def _scores(cells: Iterable[Cell], method: str, tasks: Iterable[str]) -> dict[str, np.ndarray]:
    own = {cell.task: np.array(cell.per_seed) for cell in cells if cell.method == method}
    return {task: own[task] for task in tasks}


def _shared_scores(cells: Sequence[Cell]) -> dict[str, dict[str, np.ndarray]]:
    """Each method's scores on the tasks that all share; empty if there are none."""
    methods = methods_of(cells)
    tasks = shared_tasks(cells, methods)
    return {method: _scores(cells, method, tasks) for method in methods} if tasks else {}


def _bootstrapped(statistic: Callable[..., np.ndarray], *methods: Scores) -> Interval:
    return Interval(*map(float, bootstrap_interval(statistic, *methods)))


def _dataset(task: str) -> str:
    """The dataset of a task; data of one's own is one by itself."""
    return dataset_name(task) if task in task_names() else task


def _published(tasks: Iterable[str], cell: Cell) -> float | None:
    tasks = list(tasks)
    if not set(tasks) <= set(task_names()):
        return None
    # FQL alone has figures after one million updates, too.
    name = "fql-1m" if (cell.label, cell.steps) == ("fql", 1_000_000) else cell.label
    return published_mean(tasks, name)
