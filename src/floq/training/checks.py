"""What settings of a run are refused before any work, and what follows from them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from floq.algorithms import find_algorithm
from floq.algorithms.common import data_chunk
from floq.data.loading import free_memory
from floq.envs.make import EnvironmentSpec
from floq.plugins import command
from floq.runs.checkpoint import Checkpoint
from floq.runs.directory import RunConfig
from floq.runs.settings import Online, Schedule
from floq.settings import given
from floq.tasks import goal_task_names, task_names, unknown_task
from floq.training.devices import device_grid
from floq.types import Statistics

_LIMIT = 2**31


def all_seeds(seed: int | None, seeds: Sequence[int] | None) -> tuple[int, ...]:
    """A run's seeds, from the one or the several that it was given; 0 by default.

    Raises:
        ValueError: If it was given both.
    """
    if seed is not None and seeds is not None:
        raise ValueError(f"seed is {seed} and seeds are {tuple(seeds)}: give one of the two.")
    return (seed or 0,) if seeds is None else tuple(seeds)


def check_phases(
    config: Any,
    seeds: Sequence[int],
    steps: int,
    online: Online | None,
    spec: EnvironmentSpec | None,
    *,
    has_data: bool,
    processes: int | None,
) -> None:
    """Refuses settings of `train` that no run can have, or that do not go with each other.

    Raises:
        ValueError: If there are such.
    """
    check_numbers(seeds, steps, online, processes=processes)
    check_online(config, online, spec, has_data=has_data, offline_steps=steps)
    check_devices(config, seeds, online, offline_steps=steps)


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


def check_batch(batch_size: int, seeds: Sequence[int], statistics: Statistics) -> None:
    """Refuses batches that alone take more memory than there is.

    Raises:
        ValueError: If they do.
    """
    observation = statistics.observation_dim * np.dtype(statistics.observation_dtype).itemsize
    row = 2 * observation + 4 * statistics.action_dim
    due, free = len(seeds) * batch_size * row, free_memory()
    if due > free:
        raise ValueError(
            f"batch_size is {batch_size:,}: the batches of {len(seeds)} seeds take "
            f"{due / 1e9:,.3g} GB, and {free / 1e9:,.3g} GB of memory are free. Give fewer rows; "
            "256 are usual."
        )


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
    ticks = online.steps // online.environments
    # Updates of a step are due by those before it.
    if online.updates_before(online.steps - online.environments) < 1 or ticks <= data_chunk(config):
        raise ValueError(
            f"online steps are {online.steps} for {online.environments} environments, with "
            f"warmup={online.warmup}, updates_per_step={online.updates_per_step} and "
            f"{chunk_setting(config)}: no update would ever be made. Give more "
            "steps, or less of the others."
        )
    online_rows = round(online.online_share * config.batch_size)
    if online.buffer == "balanced" and not 0 < online_rows < config.batch_size:
        raise ValueError(
            f"an online_share of {online.online_share} of batches of {config.batch_size} leaves "
            "none to one of the two: give another share or a larger batch."
        )


def check_policies(schedule: Schedule, algorithm: str, spec: EnvironmentSpec | None) -> None:
    """Refuses to evaluate a behaviour policy that is not there.

    Raises:
        ValueError: If the schedule asks for one.
    """
    has_behaviour = hasattr(find_algorithm(algorithm), "act_behaviour")
    if schedule.evaluate_bc and (spec is None or not has_behaviour):
        reason = "there is no env" if spec is None else f"{algorithm} has no behaviour policy"
        raise ValueError(f"evaluate_bc is set, but {reason}: unset it.")


def check_task_of(task: str | None, env: Any, *, has_goals: bool = False) -> str | None:
    """The task that data belongs to: the one that is named, or the environment's if it is one.

    Raises:
        ValueError: If there is no task of that name.
    """
    known = goal_task_names() if has_goals else task_names()
    if task is None and isinstance(env, str) and env in known:
        return env
    if task is not None and given(str, task, name="task") not in known:
        raise ValueError(f"{unknown_task(task, has_goals=has_goals)} Or leave task out.")
    return task


def lookahead(config: Any) -> int:
    """Steps from a transition's observation to its next one."""
    return data_chunk(config) * config.n_step


def chunk_setting(config: Any) -> str:
    """What says how long the data's decisions are, for errors."""
    chunk = data_chunk(config)
    return f"{'action' if chunk == config.action_chunk else 'critic'}_chunk={chunk}"


def extended(
    path: Path, config: RunConfig, steps: int | None, online_steps: int | None
) -> RunConfig:
    """The config with other steps in all."""
    online = config.online
    if online_steps is not None:
        if online is None:
            raise ValueError(
                f"{path} does not train in its environment, so online_steps cannot be "
                f"{online_steps}: go on there with `{command('finetune', path)}`."
            )
        online = dataclasses.replace(online, steps=online_steps)
    if steps not in (None, config.steps) and config.fingerprint is None:
        raise ValueError(f"{path} has no data to go on with, so steps cannot be {steps}.")
    return config._replace(steps=config.steps if steps is None else steps, online=online)


def check_extension(
    path: Path, config: RunConfig, former: RunConfig, checkpoint: Checkpoint | None
) -> None:
    """Refuses steps that lie behind."""
    if checkpoint is None:
        return
    step, online = checkpoint.step, config.online
    if not checkpoint.is_online and step > config.steps:
        raise ValueError(f"{path} is at step {step}, so steps cannot be {config.steps}.")
    if checkpoint.is_online and config.steps != former.steps:
        raise ValueError(
            f"{path} trains in its environment already, after {former.steps} updates on its data, "
            f"so steps cannot be {config.steps}: give online_steps."
        )
    if checkpoint.is_online and online is not None and step > config.total_steps:
        raise ValueError(
            f"{path} is at step {step - config.steps} in its environment, so online_steps cannot "
            f"be {online.steps}."
        )


def buffer_size(config: RunConfig, action_dim: int) -> str:
    """What the online buffers will take where they hold images, in words; empty of vectors.

    Args:
        config: A run's with online settings.
        action_dim: Entries of an action of the environment.
    """
    form, online, seeds = config.statistics.observations, config.online, len(config.seeds)
    if form is None or online is None:
        return ""
    rows = online.rows_per_environment * online.environments
    row = form.nbytes + 4 * (action_dim + 2)
    return (
        f"The online buffer{'s' * (seeds > 1)} will take {seeds * rows * row / 1e6:,.1f} MB: "
        f"{f'{seeds} seeds of ' * (seeds > 1)}{rows:,} transitions of {row:,} bytes (--capacity "
        "sets how many)."
    )
