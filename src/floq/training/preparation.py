"""What is settled before a run begins or goes on: its data, its statistics, and that all fits."""

import contextlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from floq.algorithms import find_algorithm
from floq.algorithms.common import data_chunk, frames_of
from floq.algorithms.normalization import Normalization
from floq.data.dataset import Dataset
from floq.data.formats import Source, as_sources
from floq.data.goal_dataset import GoalDataset, last_rows, without_ends
from floq.data.goals import Goals
from floq.data.reading import Reading
from floq.envs.make import Environment, EnvironmentSpec, spec_of
from floq.envs.preflight import Bounds, Checked, meaning, preflight
from floq.runs.directory import RunConfig
from floq.runs.settings import Online, Schedule
from floq.tasks import goal_task_names, load_task, task_names
from floq.training.devices import device_grid
from floq.training.goals import with_goals
from floq.training.hosts import is_first
from floq.types import Statistics

_LIMIT = 2**31
TOLERANCE = 1e-5
"""Of rewards, relative: sums round differently on the device than in the data's statistics."""


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
    if task is not None and task not in known:
        raise ValueError(
            f"task is {task!r}: give the name of one of floq's tasks, or leave it out. Where the "
            "task is to reach goals it is a dataset's, such as cube-double-play-v0."
        )
    return task


def normalization_of(dataset: Dataset | None, goals: Goals | None) -> Normalization:
    """How observations like the data's are normalised.

    Raises:
        ValueError: If there is no data, or they are no vectors, or have goals beside them.
    """
    if dataset is None:
        raise ValueError(
            "normalize_observations is set and dataset is None: mean and deviation are the data's. "
            "Give data, or unset it."
        )
    if goals is not None or dataset.form is not None:
        beside = "goals are given" if goals is not None else f"observations are {dataset.form}"
        raise ValueError(
            f"normalize_observations is set and {beside}: only vectors without goals are "
            "normalised. Unset it."
        )
    return Normalization.of(np.asarray(dataset.observations))


def statistics_of(
    config: Any,
    dataset: Dataset | GoalDataset | None,
    environment: Checked | None,
    reward_range: tuple[float, float] | None,
) -> Statistics:
    """Shapes and reward range, of decisions.

    Args:
        config: The algorithm's.
        dataset: One transition for each decision, or None.
        environment: The environment; needed without a dataset.
        reward_range: Least and greatest reward of a single step, in place of the dataset's.

    Raises:
        ValueError: If there is no range, or it is none.
    """
    if dataset is not None:
        found = dataset.statistics
        # Those of goals are not.
        is_constant = (
            isinstance(dataset, Dataset)
            and found.reward_min == found.reward_max
            and np.asarray(dataset.masks)[np.asarray(dataset.transitions)].all()
        )
        if is_constant and hasattr(config, "critic"):
            warnings.warn(
                f"All rewards are {found.reward_min:.6g} and no transition is terminal, so that "
                "every action is worth the same: check rewards and masks.",
                UserWarning,
                stacklevel=2,
            )
    elif reward_range is None:
        raise ValueError(
            "reward_range is not given and there is no dataset to take it from: give the least and "
            "the greatest reward of a step (--reward-range LOW HIGH), which set the noise interval "
            "and the histogram. A wide range is safer than one that rewards fall out of."
        )
    else:
        assert environment is not None
        action_dim = environment.action_dim * data_chunk(config)
        frames, form = frames_of(config), environment.form
        if form is not None:
            form = form._replace(frames=frames)
        elif frames > 1:
            raise ValueError(
                f"encoder.frames is {frames}, and the environment observes vectors: frames are of "
                "images, so leave it at 1."
            )
        entries = environment.observation_dim * frames
        found = Statistics(entries, action_dim, 0.0, 0.0, form)
    if reward_range is None:
        return found
    low, high = reward_range
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"reward_range is {low}, {high}: give two numbers, the lower one first.")
    # A decision earns the discounted sum over its steps, of which a true end may leave one.
    total = sum(config.discount**step for step in range(lookahead(config)))
    given = found._replace(reward_min=min(low, low * total), reward_max=max(high, high * total))
    slack = TOLERANCE * max(abs(low), abs(high), 1.0)
    if dataset is not None and not (
        given.reward_min - slack <= found.reward_min <= found.reward_max <= given.reward_max + slack
    ):
        warnings.warn(
            f"The dataset's decisions earn {found.reward_min:.6g} to {found.reward_max:.6g}, and "
            f"reward_range={low:.6g}, {high:.6g} allows for {given.reward_min:.6g} to "
            f"{given.reward_max:.6g}: values beyond it are learned less well.",
            UserWarning,
            stacklevel=2,
        )
    return given


def lookahead(config: Any) -> int:
    """Steps from a transition's observation to its next one."""
    return data_chunk(config) * config.n_step


def chunk_setting(config: Any) -> str:
    """What says how long the data's decisions are, for errors."""
    chunk = data_chunk(config)
    return f"{'action' if chunk == config.action_chunk else 'critic'}_chunk={chunk}"


def as_goals(dataset: Dataset, config: Any, goals: Goals | None) -> Dataset | GoalDataset:
    """The dataset with one transition for each decision, whose goals are drawn if there are any.

    Raises:
        ValueError: If the goals' entries are none of an observation, or observations are images.
    """
    if goals is None:
        return as_decisions(dataset, config)
    if dataset.form is not None:
        raise ValueError(
            f"goals are given, and observations of the data are {dataset.form}: goals are entries "
            "of observations that are vectors, so leave them out."
        )
    goals.check_entries(dataset.sizes[0])
    ends = last_rows(dataset)
    seen = as_decisions(without_ends(dataset), config)
    return GoalDataset(seen, ends, goals, config.discount)


def as_decisions(dataset: Dataset, config: Any) -> Dataset:
    """The dataset with one transition for each decision of the algorithm."""
    chunk = data_chunk(config)
    dataset = dataset.with_frames(frames_of(config))
    if chunk > 1 or config.n_step > 1:
        dataset = dataset.with_decisions(
            action_chunk=chunk, n_step=config.n_step, discount=config.discount
        )
    starts = np.asarray(dataset.transitions)
    has_next_actions = np.isin(starts + dataset.lookahead, starts).any()
    if getattr(config, "critic_bc_coefficient", 0) and not has_next_actions:
        warnings.warn(
            "critic_bc_coefficient penalizes a distance from the data's next actions, and no "
            "transition has one: none starts where another ends, as in shuffled data. Give the "
            "transitions in the order in which they were collected, or set it to 0.",
            UserWarning,
            stacklevel=2,
        )
    return dataset


def check_environment(
    spec: EnvironmentSpec, dataset: Dataset | GoalDataset | None, *, processes: int | None
) -> Checked:
    """Tries a new run's environment, and relates its actions to those of the data.

    Args:
        spec: The environment.
        dataset: The data, if there is any.
        processes: Processes that will step environments; with 0 none is started here either.

    Raises:
        ValueError: If something of it fails, or it cannot be the one that the data comes from.
    """
    return preflight(
        spec,
        sizes=None if dataset is None else dataset.shown,
        bounds=None if dataset is None else action_bounds(dataset),
        is_related=dataset is None,
        in_worker=processes != 0 and is_first(),
    )


def action_bounds(
    dataset: Dataset | GoalDataset | None,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What -1 and 1 stand for in the data's actions; None if nobody has said."""
    if dataset is None or dataset.action_low is None or dataset.action_high is None:
        return None
    return dataset.action_low, dataset.action_high


def with_environment(
    config: RunConfig,
    env: Environment | None,
    *,
    bounds: Bounds | None = None,
    processes: int | None,
) -> RunConfig:
    """A run's settings with the environment that it goes on in, which is tried.

    Args:
        config: The run's.
        env: Another environment in place of the run's; None keeps that.
        bounds: What -1 and 1 stand for in the run's data, where the run does not know.
        processes: Processes that will step environments; with 0 none is started here either.

    Raises:
        ValueError: If something of it fails, or it does not fit what the run has learned.
    """
    former = config.environment
    spec = former if env is None else spec_of(env)
    spec = with_goals(spec, config.goals, config.online)
    if spec is None:
        return config
    bounds = config.action_bounds or bounds
    is_same = spec == former
    if bounds is None and former is not None and not is_same:
        # One that is no longer to be had says nothing.
        with contextlib.suppress(ValueError):
            bounds = meaning(former)
    statistics = config.statistics
    action_dim, form = statistics.action_dim // data_chunk(config.config), statistics.observations
    checked = preflight(
        spec,
        sizes=(form.bare if form else statistics.observation_dim, action_dim),
        bounds=None if is_same else bounds,
        is_related=is_same,
        in_worker=processes != 0 and is_first(),
    )
    return config._replace(environment=checked.spec)


class DataFile(NamedTuple):
    """Files of data, in place of the data.

    Attributes:
        path: A source as `Dataset.load` reads it, or several.
        bounds: What -1 and 1 stand for in its actions, where it does not say.
        reading: How to read it, where it leaves that open.

    Example:
        >>> floq.DataFile("d4rl:hopper.hdf5", reading=floq.Reading(convention="locomotion"))
    """

    path: str | Path | Sequence[str | Path]
    bounds: Bounds | None = None
    reading: Reading = Reading()


class Noted(NamedTuple):
    """What a run notes of its data, so that it is found again.

    Attributes:
        data: The source, or sources; None of data that was given in Python.
        reading: How they were read; None where nothing was said.
    """

    data: str | tuple[str, ...] | None = None
    reading: Reading | None = None


def read_dataset(
    dataset: Dataset | DataFile | str | Path | None,
) -> tuple[Dataset | None, Noted]:
    """The data, and where it was read from, if it was."""
    if dataset is None or isinstance(dataset, Dataset):
        return dataset, Noted()
    file = dataset if isinstance(dataset, DataFile) else DataFile(dataset)
    sources = [Source(one.format, one.path.resolve()) for one in as_sources(file.path)]
    low, high = (None, None) if file.bounds is None else map(np.asarray, file.bounds)
    found = Dataset.load(sources, reading=file.reading, action_low=low, action_high=high)
    names = [one.noted for one in sources]
    reading = file.reading if file.reading.said else None
    return found, Noted(tuple(names) if len(names) > 1 else names[0], reading)


def verified_dataset(
    path: Path,
    config: RunConfig,
    dataset: Dataset | DataFile | str | Path | None,
    *,
    directory: Path | None = None,
) -> tuple[Dataset, Noted]:
    """The run's dataset, and no other, and where it was read from, if it was.

    Args:
        path: The run.
        config: What its `config.json` says.
        dataset: The data, or its file; that which the run has noted, or of its task, by default.
        directory: Folder of the task's dataset files; the usual one by default.

    Raises:
        FileNotFoundError: If the data file is not there.
        ValueError: If the run has no task and no dataset is given, or it is another one.
    """
    if dataset is None and config.data is None and config.task is None:
        raise ValueError(
            f"{path} was not started from one of floq's tasks: give its data as `dataset`, or as "
            "--data PATH where Dataset.save has written it."
        )
    if dataset is None and config.data is not None:
        try:
            as_sources(config.data)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. This is the data of {path}: give the place where it lies now as "
                "`dataset`, or as --data PATH."
            ) from error
    given = config.data if dataset is None else dataset
    if given is not None and not isinstance(given, Dataset):
        file = given if isinstance(given, DataFile) else DataFile(given)
        given = file._replace(
            bounds=file.bounds or config.action_bounds,
            reading=file.reading if file.reading.said else config.reading or Reading(),
        )
    found, noted = read_dataset(given)
    if found is None:
        assert config.task is not None
        kwargs = config.environment.kwargs if config.environment else {}
        choices: dict[str, Any] = {key: kwargs[key] for key in ("reward",) if key in kwargs}
        choices |= {} if config.goals is None else {"goals": config.goals}
        found, env = load_task(config.task, directory=directory, **choices)
        env.close()
    fingerprint = found.fingerprint()
    if fingerprint != config.fingerprint:
        raise ValueError(
            f"{path} was trained on another dataset: its fingerprint is {config.fingerprint}, that "
            f"of the data given now is {fingerprint}. Find the former data, or train anew."
        )
    return found, noted if noted.data else Noted(config.data, config.reading)
