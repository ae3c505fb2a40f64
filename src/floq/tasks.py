"""Benchmark tasks: their names, and each one's data and environment."""

import difflib
from pathlib import Path
from typing import Literal

import gymnasium

from floq.data.dataset import Dataset
from floq.data.info import require_file
from floq.data.ogbench_files import read_ogbench, relabel, simulation_fields
from floq.data.paths import dataset_files
from floq.envs.make import make_env

_MAZES = [
    f"{body}maze-{size}"
    for body in ("point", "ant", "humanoid")
    for size in ("medium", "large", "giant", "teleport")
]
_SOCCER = ["antsoccer-arena", "antsoccer-medium"]
_MANIPULATION = [
    *(f"cube-{number}" for number in ("single", "double", "triple", "quadruple", "octuple")),
    "scene",
    *(f"puzzle-{size}" for size in ("3x3", "4x4", "4x5", "4x6")),
]
_DOMAINS = {
    **dict.fromkeys(_MAZES, ("navigate", "stitch", "explore")),
    **dict.fromkeys(_SOCCER, ("navigate", "stitch")),
    **dict.fromkeys(_MANIPULATION, ("play", "noisy")),
}
"""Every domain of OGBench that observes states, with the ways its data was collected."""


def task_names() -> list[str]:
    """Every benchmark task that floq knows."""
    return [
        f"{domain}-{kind}-singletask{task}-v0"
        for domain, kinds in _DOMAINS.items()
        for kind in kinds
        for task in ("", *(f"-task{number}" for number in range(1, 6)))
    ]


def check_task(name: str) -> None:
    """Refuses what is not a benchmark task.

    Raises:
        ValueError: If it is none; the message names those that are close.
    """
    if name not in task_names():
        raise ValueError(unknown_task(name))


def load_task(
    name: str,
    *,
    directory: Path | None = None,
    success_timing: Literal["pre", "post"] = "pre",
) -> tuple[Dataset, gymnasium.Env]:
    """The training data of a benchmark task, with its rewards, and its environment.

    Args:
        name: A task of OGBench, such as `cube-double-play-singletask-v0` (the domain's default
            task) or `cube-double-play-singletask-task3-v0`.
        directory: The folder of the dataset files, `floq.data.paths.data_directory()` by default.
        success_timing: Whether the environment's reward and termination follow from the state
            before ("pre", as the rewards of the data do) or after ("post") each step.

    Raises:
        ValueError: There is no such task, or its data file is unsound.
        FileNotFoundError: The data file is not there; the message holds the commands that make it.
    """
    check_task(name)
    path, _ = dataset_files(name, directory=directory)
    require_file(path, name)
    arrays = read_ogbench(path, simulation=simulation_fields(name))
    env = make_env(name, success_timing=success_timing)
    rewards, masks = relabel(arrays, env=env, task_name=name, source=str(path))
    dataset = Dataset.from_trajectories(
        arrays["observations"],
        arrays["actions"],
        rewards,
        masks,
        arrays["terminals"],
        source=str(path),
    )
    return dataset, env


def unknown_task(name: str) -> str:
    """Says that there is no such task, and what may have been meant."""
    known = task_names()
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.6)
    if close:
        hint = f"did you mean {', '.join(close)}?"
    else:
        hint = f"the domains are {', '.join(_DOMAINS)}; a task is named as {known[0]}."
    if "singletask" not in name:
        hint += " A dataset has no reward of its own: name one of its single tasks."
    return f"no task is named {name!r}: {hint}"
