"""Benchmark tasks: their names, and each one's data and environment."""

import difflib
import os
from pathlib import Path
from typing import Any, Literal, overload

import gymnasium
import numpy as np

from floq.data.dataset import Dataset
from floq.data.formats import format_names
from floq.data.goals import Goals
from floq.data.info import require_file
from floq.data.loading import GOALS_IN_MEMORY, load_rows
from floq.data.ogbench_files import read_goal_data, read_task
from floq.data.paths import dataset_files, dataset_name
from floq.data.streamed import Data
from floq.envs.make import make_env, sparse_reward
from floq.extras import require_extra
from floq.observations import ObservationForm, Part
from floq.settings import given
from floq.shell import quoted

_BODIES = {"point": (2, 2), "ant": (29, 8), "humanoid": (69, 21)}
# Entries of an observation. The arm has 19; a cube adds 9, a button 4, and the scene 21 in all.
_MANIPULATION = {
    "cube-single": 28,
    "cube-double": 37,
    "cube-triple": 46,
    "cube-quadruple": 55,
    "cube-octuple": 91,
    "scene": 40,
    "puzzle-3x3": 55,
    "puzzle-4x4": 83,
    "puzzle-4x5": 99,
    "puzzle-4x6": 115,
}
GOALS_OF_A_TASK = 5
"""Goals at which OGBench evaluates a policy on each of its datasets."""
_IMAGE = ObservationForm((Part("", (64, 64, 3)),))
_DOMAINS = {
    **{
        f"{body}maze-{size}": (("navigate", "stitch", "explore"), sizes)
        for body, sizes in _BODIES.items()
        for size in ("medium", "large", "giant", "teleport")
    },
    **{f"antsoccer-{size}": (("navigate", "stitch"), (42, 8)) for size in ("arena", "medium")},
    **{name: (("play", "noisy"), (entries, 5)) for name, entries in _MANIPULATION.items()},
    **{
        f"visual-{name}": (("play", "noisy"), (_IMAGE.nbytes, 5))
        for name in _MANIPULATION
        if name != "cube-octuple"
    },
}
"""Every domain of OGBench that observes states, and those whose images can be rendered here: the
ways in which its data was collected, and the entries of an observation and of an action."""
_SIZES = {f"{name}-{kind}-v0": sizes for name, (kinds, sizes) in _DOMAINS.items() for kind in kinds}
"""Entries of an observation and of an action, by the exact name of the dataset."""


def task_names() -> list[str]:
    """Every benchmark task that floq knows."""
    return [
        f"{domain}-{kind}-singletask{task}-v0"
        for domain, (kinds, _) in _DOMAINS.items()
        for kind in kinds
        for task in ("", *(f"-task{number}" for number in range(1, 6)))
    ]


def goal_task_names() -> list[str]:
    """Every dataset of OGBench that floq knows: the task of each is to reach goals."""
    return list(_SIZES)


def task_sizes(name: str) -> tuple[int, int]:
    """Entries of an observation and of an action of a benchmark task or its dataset.

    Raises:
        ValueError: If there is no such dataset; the message names those that are close.
    """
    sizes = _SIZES.get(dataset_name(name))
    if sizes is None:
        raise ValueError(unknown_task(name))
    return sizes


def task_form(name: str) -> ObservationForm | None:
    """What the bytes of a task's observations are; None of vectors."""
    return _IMAGE if name.startswith("visual-") else None


def check_task(name: str, *, has_goals: bool = False) -> None:
    """Refuses what is not a benchmark task.

    Args:
        name: The task; where it is to reach goals, the name of a dataset.
        has_goals: Whether it is.

    Raises:
        ValueError: If it is none; the message names those that are close.
    """
    known = goal_task_names() if has_goals else task_names()
    if given(str, name, name="the name of the task") not in known:
        raise ValueError(unknown_task(name, has_goals=has_goals))


def require_task(name: str, *, directory: Path | None = None, has_goals: bool = False) -> Path:
    """The training data of a benchmark task, a file or a folder of shards, which is there.

    Arguments are those of `check_task`.

    Raises:
        ValueError: There is no such task.
        MissingExtraError: OGBench is not installed.
        FileNotFoundError: The file is not there; the message holds the commands that make it.
    """
    check_task(name, has_goals=has_goals)
    require_extra("ogbench")
    path, _ = dataset_files(name, directory=directory)
    if path.with_suffix("").is_dir():
        return path.with_suffix("")
    require_file(path, name)
    return path


@overload
def load_task(
    name: str,
    *,
    directory: Path | None = None,
    success_timing: Literal["pre", "post"] = "pre",
    reward: Literal["dense", "sparse"] = "dense",
    goals: Goals | None = None,
) -> tuple[Dataset, gymnasium.Env]: ...


@overload
def load_task(
    name: str,
    *,
    directory: Path | None = None,
    success_timing: Literal["pre", "post"] = "pre",
    reward: Literal["dense", "sparse"] = "dense",
    goals: Goals | None = None,
    device_memory: str | int | None,
) -> tuple[Data, gymnasium.Env]: ...


def load_task(
    name: str,
    *,
    directory: Path | None = None,
    success_timing: Literal["pre", "post"] = "pre",
    reward: Literal["dense", "sparse"] = "dense",
    goals: Goals | None = None,
    device_memory: str | int | None = None,
) -> tuple[Data, gymnasium.Env]:
    """The training data of a benchmark task, with its rewards, and its environment.

    Args:
        name: A task of OGBench, such as `cube-double-play-singletask-v0` (the domain's default
            task) or `cube-double-play-singletask-task3-v0`.
        directory: The folder of the dataset files, `floq.data.paths.data_directory()` by default.
        success_timing: Whether the environment's reward and termination follow from the state
            before ("pre", as the rewards of the data do) or after ("post") each step.
        reward: "dense" as OGBench has it, or "sparse": -1 until the task is solved, 0 then, in the
            data and in the environment alike, as arXiv 2507.07969 has scene and puzzle. When a task
            is solved and ends is the same in both.
        goals: What `floq.train` gets too, where the task is to reach goals; `name` is that of a
            dataset then, such as `cube-double-play-v0`. Its rewards are 0, since those of goals
            are made when these are drawn, and the environment shows the goal of each episode.
        device_memory: What the data may take on the device, such as "8GB": if it is larger, parts
            of it take turns there. "auto" is what fits; by default all of it is loaded.

    Raises:
        ValueError: There is no such task, or its data file is unsound.
        MissingExtraError: OGBench is not installed.
        FileNotFoundError: The data file is not there; the message holds the commands that make it.
    """
    path = require_task(name, directory=directory, has_goals=goals is not None)
    if goals is not None:
        rows = read_goal_data(path)
        goals.check_entries(rows.widths[0])
        dataset = load_rows(rows, device_memory, in_memory=GOALS_IN_MEMORY)
        return dataset, make_env(name, goals=goals.goal_entries)
    changes: dict[str, Any] = {} if reward == "dense" else {"reward": reward}
    # What labels the data must not meet what the caller does with the other one.
    env = make_env(name, success_timing=success_timing, **changes)
    labelling = env if device_memory is None else make_env(name)
    rewarded = sparse_reward if reward == "sparse" else np.asarray
    rows = read_task(path, env=labelling, task_name=name, rewarded=rewarded)
    return load_rows(rows, device_memory), env


def unknown_task(name: str, *, has_goals: bool = False) -> str:
    """Says that there is no such task, and what may have been meant."""
    if what := _data_at(name):
        run = f" A run goes on by `{quoted('floq', 'resume', name)}`." if what == "a folder" else ""
        return (
            f"no task is named {name!r}, which is {what}: data of your own takes the place of a "
            f"task, by {quoted('--data', name)} of `floq train`, in a sweep by a table "
            f"[data.NAME], in Python by floq.Dataset.load.{run}"
        )
    known = goal_task_names() if has_goals else task_names()
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.6)
    if close:
        hint = f"did you mean {', '.join(close)}?"
    else:
        hint = f"the domains are {', '.join(_DOMAINS)}; a task is named as {known[0]}."
    if "singletask" in name and has_goals:
        hint += " A single task has but its own goal: name the dataset."
    if "singletask" not in name and not has_goals:
        hint += (
            " A dataset has no reward of its own: name one of its single tasks, or learn to reach "
            "goals (`floq train --goals`; in a sweep, a table [goals])."
        )
    return f"no task is named {name!r}: {hint}"


def _data_at(name: str) -> str:
    """What stands in the place of a task's name, if it may be data of one's own; else nothing."""
    prefix, colon, _ = name.partition(":")
    if colon and prefix in format_names():
        return f"data of the format {prefix}"
    # Of whatever name, which may be none of a file.
    if os.path.isfile(name):  # noqa: PTH113
        return "a file"
    return "a folder" if name not in _SIZES and os.path.isdir(name) else ""  # noqa: PTH112
