"""Published figures: success rates to put beside ours (arXiv 2509.06863, its tables)."""

from collections.abc import Iterable

from floq.data.paths import dataset_name
from floq.presets.domains import DOMAINS

FIGURES = {
    "antmaze-large-navigate-v0": {
        "bc": 11, "rebrac": 81, "fql-1m": 79, "fql": 83, "floq": 91, "floq-best": 91,
    },
    "antmaze-giant-navigate-v0": {
        "bc": 0, "rebrac": 26, "fql-1m": 22, "fql": 27, "floq": 36, "floq-best": 51,
    },
    "humanoidmaze-medium-navigate-v0": {
        "bc": 2, "rebrac": 22, "fql-1m": 57, "fql": 69, "floq": 82, "floq-best": 82,
    },
    "humanoidmaze-large-navigate-v0": {
        "bc": 1, "rebrac": 2, "fql-1m": 9, "fql": 16, "floq": 28, "floq-best": 28,
    },
    "cube-double-play-v0": {
        "bc": 2, "rebrac": 12, "fql-1m": 29, "fql": 25, "floq": 47, "floq-best": 47,
    },
    "scene-play-v0": {"floq": 58, "floq-best": 58},
    "puzzle-3x3-play-v0": {
        "bc": 2, "rebrac": 21, "fql-1m": 30, "fql": 29, "floq": 37, "floq-best": 37,
    },
    "puzzle-4x4-play-v0": {
        "bc": 0, "rebrac": 14, "fql-1m": 17, "fql": 9, "floq": 21, "floq-best": 28,
    },
}  # fmt: skip
"""Mean success in percent over the five tasks of a dataset, 3 seeds; after 2 million updates, or
after one million for "fql-1m". A figure that is not published is left out."""

ALL_TEN = {"bc": 3, "rebrac": 31, "fql-1m": 46, "fql": 47, "floq": 56, "floq-best": 59}
"""The mean over all ten domains."""

TASKS = {
    "cube-double-play-v0": (45, 42, 59, 13, 46),
    "scene-play-v0": (100, 92, 97, 4, 0),
    "puzzle-3x3-play-v0": (94, 22, 16, 16, 25),
    "puzzle-4x4-play-v0": (60, 22, 36, 19, 14),
}
"""Success in percent of independent runs of floq on each of the five tasks."""

CHUNKS = {
    "five manipulation domains, scene and puzzle sparse": {
        "FQL": (37, 58), "BFN": (52, 63), "QC-FQL": (39, 86), "QC": (51, 86),
    },
    "cube-double, dense": {"FQL": (32, 76), "BFN": (67, 79), "QC-FQL": (42, 100), "QC": (66, 98)},
    "cube-triple, dense": {"FQL": (2, 18), "BFN": (6, 23), "QC-FQL": (3, 53), "QC": (5, 64)},
}  # fmt: skip
"""Success in percent of QC (arXiv 2507.07969, computed from its released results): after a million
updates offline, and after another million online. Sparse rewards are those of `--reward sparse`,
which no figure above has. BFN is best of N of the behaviour flow, QC that of chunks of 5."""

ADJOINT = {"FQL": (36, 82), "QAM-E": (46, 85)}
"""Success in percent over 50 tasks of arXiv 2601.14234, offline and after training online, scene
and puzzle sparse; its critics are 10 members with a pessimism of .5."""


def published_success(task: str, algorithm: str) -> float | None:
    """The published success rate, in [0, 1], or None if there is none.

    Args:
        task: A task, or a dataset for the mean over its five tasks. One task alone has a figure
            only where it is published.
        algorithm: A column of `FIGURES`, such as `floq` or `fql`.
    """
    dataset = dataset_name(task)
    if "singletask" not in task.split("-"):
        figure = FIGURES.get(dataset, {}).get(algorithm)
        return None if figure is None else figure / 100
    number = next((word for word in task.split("-") if word.startswith("task")), None)
    if algorithm != "floq" or dataset not in TASKS:
        return None
    index = int(number.removeprefix("task")) if number else DOMAINS[dataset].default_task
    return TASKS[dataset][index - 1] / 100


def published_mean(tasks: Iterable[str], algorithm: str) -> float | None:
    """The published mean success rate over tasks, in [0, 1], or None if there is none.

    Args:
        tasks: One task, the five of a dataset, or the fifty of all ten domains: means over other
            tasks are not published.
        algorithm: A column of `FIGURES`, such as `floq` or `fql`.
    """
    found = set(tasks)
    if len(found) == 1:
        return published_success(found.pop(), algorithm)
    datasets = {dataset_name(task) for task in found}
    if found != {task for dataset in datasets for task in _tasks(dataset)}:
        return None
    if len(datasets) == 1:
        return published_success(datasets.pop(), algorithm)
    figure = ALL_TEN.get(algorithm) if datasets == DOMAINS.keys() else None
    return None if figure is None else figure / 100


def _tasks(dataset: str) -> list[str]:
    """The five tasks of a dataset."""
    stem, _, version = dataset.rpartition("-")
    return [f"{stem}-singletask-task{number}-{version}" for number in range(1, 6)]
