"""What is settled before a run begins or goes on: its data, its statistics, and that all fits."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from floq.data.dataset import Dataset
from floq.envs.make import EnvironmentSpec
from floq.tasks import load_task
from floq.training.devices import device_grid
from floq.training.run_directory import Online, RunConfig
from floq.types import Statistics

_LIMIT = 2**31


def check_numbers(
    seeds: Sequence[int], steps: int, online: Online | None, *, processes: int | None
) -> None:
    """Refuses seeds, steps and processes out of their range.

    Raises:
        ValueError: If one is.
    """
    if processes is not None and processes < 0:
        raise ValueError(f"processes is {processes}: give 0 or more, or leave it out.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {tuple(seeds)}: give one or more, all of them different.")
    if min(seeds) < 0 or max(seeds) >= _LIMIT:
        raise ValueError(f"seeds are {tuple(seeds)}: give whole numbers from 0 to {_LIMIT - 1}.")
    least = 1 if online is None else 0
    if not least <= steps < _LIMIT:
        raise ValueError(f"steps is {steps}: give a whole number from {least} to {_LIMIT - 1}.")
    if online is None:
        return
    if online.steps >= _LIMIT or steps + online.updates_before(online.steps) >= _LIMIT:
        raise ValueError(
            f"online steps are {online.steps}: they and their updates must be below {_LIMIT}."
        )


def check_devices(
    config: Any, seeds: Sequence[int], online: Online | None, *, offline_steps: int
) -> None:
    """Refuses what this process's devices, or several processes, cannot train together.

    Raises:
        ValueError: If there is such.
    """
    if online is not None and jax.process_count() > 1:
        raise ValueError(
            f"online settings are given to {jax.process_count()} processes that train together: "
            "environments are stepped by one. Train offline together, then call `floq finetune` "
            "in a single process."
        )
    if offline_steps:
        device_grid(len(seeds), config.batch_size)


def check_online(
    config: Any,
    online: Online | None,
    spec: EnvironmentSpec | None,
    *,
    has_data: bool,
    offline_steps: int,
) -> None:
    """Refuses online settings that do not go with the rest.

    Raises:
        ValueError: If there are such.
    """
    if not has_data and (offline_steps or online is None or online.buffer != "online"):
        raise ValueError(
            "dataset is None: give data, or steps=0 and online settings with "
            'buffer="online", which learns from online transitions alone.'
        )
    if online is None:
        return
    if spec is None:
        raise ValueError("online settings are given, but no env: give the environment.")
    least = lookahead(config) + 3
    if online.rows_per_environment < least:
        raise ValueError(
            f"online capacity is {online.capacity} for {online.environments} environments: give at "
            f"least {least * online.environments}, since each must hold a whole lookahead."
        )
    online_rows = round(online.online_share * config.batch_size)
    if online.buffer == "balanced" and not 0 < online_rows < config.batch_size:
        raise ValueError(
            f"an online_share of {online.online_share} of batches of {config.batch_size} leaves "
            "none to one of the two: give another share or a larger batch."
        )


def statistics_of(
    config: Any,
    dataset: Dataset | None,
    spec: EnvironmentSpec | None,
    reward_range: tuple[float, float] | None,
) -> Statistics:
    """Shapes and reward range, of decisions.

    Args:
        config: The algorithm's.
        dataset: One transition for each decision, or None.
        spec: The environment; needed without a dataset.
        reward_range: Least and greatest reward of a single step, in place of the dataset's.

    Raises:
        ValueError: If there is no range, or it is none.
    """
    if dataset is not None:
        found = dataset.statistics
    elif reward_range is None:
        raise ValueError(
            "reward_range is not given and there is no dataset to take it from: give the least and "
            "the greatest reward of a step (--reward-range LOW HIGH), which set the noise interval "
            "and the histogram. A wide range is safer than one that rewards fall out of."
        )
    else:
        assert spec is not None
        (observation_dim,), (action_dim,) = _shapes(spec)
        found = Statistics(observation_dim, action_dim * config.action_chunk, 0.0, 0.0)
    if reward_range is None:
        return found
    low, high = reward_range
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"reward_range is {low}, {high}: give two numbers, the lower one first.")
    # A decision earns the discounted sum over its steps, of which a true end may leave one.
    total = sum(config.discount**step for step in range(lookahead(config)))
    return found._replace(reward_min=min(low, low * total), reward_max=max(high, high * total))


def lookahead(config: Any) -> int:
    """Steps from a transition's observation to its next one."""
    return config.action_chunk * config.n_step


def _shapes(spec: EnvironmentSpec) -> tuple[Any, Any]:
    """Shapes of an observation and of an action."""
    env = spec.make()
    try:
        return env.observation_space.shape, env.action_space.shape
    finally:
        env.close()


def as_decisions(dataset: Dataset, config: Any) -> Dataset:
    """The dataset with one transition for each decision of the algorithm."""
    if config.action_chunk == config.n_step == 1:
        return dataset
    return dataset.with_decisions(
        action_chunk=config.action_chunk, n_step=config.n_step, discount=config.discount
    )


def check_environment(spec: EnvironmentSpec, statistics: Statistics, action_chunk: int) -> None:
    """Refuses an environment that the dataset cannot come from."""
    shapes = _shapes(spec)
    expected = (statistics.observation_dim,), (statistics.action_dim // action_chunk,)
    if shapes != expected:
        raise ValueError(
            f"The environment {spec.id} has observations and actions of shapes {shapes}, the "
            f"dataset has {expected}: give the environment that the data was collected in."
        )


def verified_dataset(
    path: Path, config: RunConfig, dataset: Dataset | None, *, directory: Path | None = None
) -> Dataset:
    """The run's dataset, and no other.

    Args:
        path: The run.
        config: What its `config.json` says.
        dataset: The data; that of the run's task by default.
        directory: Folder of the task's dataset files; the usual one by default.

    Raises:
        FileNotFoundError: If the task's data file is not there.
        ValueError: If the run has no task and no dataset is given, or it is another one.
    """
    if dataset is None:
        if config.task is None:
            raise ValueError(
                f"{path} was not started from one of floq's tasks: give its data as `dataset`."
            )
        dataset, env = load_task(config.task, directory=directory)
        env.close()
    fingerprint = dataset.fingerprint()
    if fingerprint != config.fingerprint:
        raise ValueError(
            f"{path} was trained on another dataset: its fingerprint is {config.fingerprint}, that "
            f"of the data given now is {fingerprint}. Find the former data, or train anew."
        )
    return dataset
