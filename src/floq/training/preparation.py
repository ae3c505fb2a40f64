"""What is settled before a run begins or goes on: its data, its statistics, and that all fits."""

import contextlib
import math
import warnings
from typing import Any, TypeVar

import numpy as np

from floq.acting import check_goals
from floq.algorithms.common import data_chunk, frames_of
from floq.data.dataset import Dataset
from floq.data.goal_dataset import GoalDataset, last_rows, without_ends
from floq.data.goals import Goals
from floq.data.memory import pieces
from floq.data.reading import Reading
from floq.data.streamed import Data, StreamedDataset
from floq.envs.make import Environment, EnvironmentSpec, spec_of, with_arguments
from floq.envs.preflight import Bounds, Checked, meaning, preflight
from floq.networks import Encoder
from floq.networks.modules import holds
from floq.observations import Normalization
from floq.runs.directory import RunConfig
from floq.runs.settings import Online, Schedule
from floq.training.checks import lookahead
from floq.training.hosts import is_first
from floq.types import Statistics

Set = TypeVar("Set", Dataset, StreamedDataset, Data)
TOLERANCE = 1e-5
"""Of rewards, relative: sums round differently on the device than in the data's statistics."""


def normalization_of(dataset: Data | None, goals: Goals | None, template: Any) -> Normalization:
    """How observations like the data's are normalised.

    Args:
        dataset: The data.
        goals: Goals beside its observations.
        template: States of the algorithm, whose encoders normalise vectors beside images.

    Raises:
        ValueError: If there is no data, or there are no vectors, or goals beside them, or nothing
            that would normalise them.
    """
    if dataset is None:
        raise ValueError(
            "normalize_observations is set and dataset is None: mean and deviation are the data's. "
            "Give data, or unset it."
        )
    form = dataset.form
    has_vectors = form is None or not all(part.is_image for part in form.parts)
    if goals is not None or not has_vectors:
        beside = "goals are given" if goals is not None else f"observations are {form}"
        raise ValueError(
            f"normalize_observations is set and {beside}: only vectors without goals are "
            "normalised. Unset it."
        )
    if form is not None and not holds(template, Encoder):
        raise ValueError(
            f"normalize_observations is set, and the algorithm reads {form} by networks of its "
            "own, not by floq.networks.Encoder, which normalises. Unset it."
        )
    if isinstance(dataset, StreamedDataset):
        rows = dataset.observations()
    else:
        rows = pieces(np.asarray(dataset.observations))
    return Normalization.of(rows if form is None else map(form.bare.vectors, rows))


def statistics_of(
    config: Any,
    dataset: Data | GoalDataset | None,
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
        is_constant = found.reward_min == found.reward_max and not _has_ends(dataset)
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


def _has_ends(dataset: Data | GoalDataset) -> bool:
    """Whether a transition has no next value."""
    if isinstance(dataset, GoalDataset):
        return True
    if isinstance(dataset, StreamedDataset):
        return dataset.has_ends
    return not np.asarray(dataset.masks)[np.asarray(dataset.transitions)].all()


def as_goals(dataset: Data, config: Any, goals: Goals | None) -> Data | GoalDataset:
    """The dataset with one transition for each decision, whose goals are drawn if there are any.

    Raises:
        ValueError: If the goals' entries are none of an observation, or observations are images.
    """
    if goals is None:
        return as_decisions(dataset, config)
    assert not isinstance(dataset, StreamedDataset)
    if dataset.form is not None:
        raise ValueError(
            f"goals are given, and observations of the data are {dataset.form}: goals are entries "
            "of observations that are vectors, so leave them out."
        )
    goals.check_entries(dataset.sizes[0])
    ends = last_rows(dataset)
    seen = as_decisions(without_ends(dataset), config)
    return GoalDataset(seen, ends, goals, config.discount)


def as_decisions(dataset: Set, config: Any) -> Set:
    """The dataset with one transition for each decision of the algorithm."""
    chunk, dataset = data_chunk(config), dataset.with_frames(frames_of(config))
    if chunk > 1 or config.n_step > 1:
        dataset = dataset.with_decisions(
            action_chunk=chunk,
            n_step=config.n_step,
            discount=config.discount,
            setting="action_chunk" if chunk == config.action_chunk else "critic_chunk",
        )
    if isinstance(dataset, StreamedDataset):
        return dataset
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
    spec: EnvironmentSpec | None,
    dataset: Data | GoalDataset | None,
    schedule: Schedule,
    *,
    processes: int | None,
) -> Checked | None:
    """Tries a new run's environment, if it has one, and relates its actions to those of the data.

    Args:
        spec: The environment.
        dataset: The data, if there is any.
        schedule: How many episodes an evaluation plays.
        processes: Processes that will step environments; with 0 none is started here either.

    Raises:
        ValueError: If something of it fails, it cannot be the one that the data comes from, or its
            goals would not count alike.
    """
    if spec is None:
        return None
    sizes = None
    if dataset is not None:
        sizes = dataset.form.bare if dataset.form else dataset.sizes[0], dataset.sizes[1]
    found = preflight(
        spec,
        sizes=sizes,
        bounds=action_bounds(dataset),
        is_related=dataset is None,
        in_worker=processes != 0 and is_first(),
    )
    check_goals(schedule.evaluation_episodes, found.goal_count)
    return found


def action_bounds(
    dataset: Data | GoalDataset | None,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What -1 and 1 stand for in the data's actions; None if nobody has said."""
    if isinstance(dataset, GoalDataset):
        dataset = dataset.dataset
    if dataset is None or dataset.action_low is None or dataset.action_high is None:
        return None
    return dataset.action_low, dataset.action_high


def with_goals(
    spec: EnvironmentSpec | None, goals: Goals | None, online: Online | None
) -> EnvironmentSpec | None:
    """The environment that shows the goals which a run learns to reach.

    Raises:
        ValueError: If the run trains in it, which goals are not drawn for.
    """
    if goals is None:
        return spec
    if online is not None:
        raise ValueError(
            "goals are given beside online settings: goals are drawn from data, so train on the "
            "dataset alone."
        )
    return spec and with_arguments(spec, goals=list(goals.goal_entries))


def with_successes(
    spec: EnvironmentSpec, reading: Reading | None, goals: Goals | None
) -> EnvironmentSpec:
    """The environment that is rewarded by success where the run's data is read so."""
    if goals is not None or reading is None or reading.rewards != "success":
        return spec
    return with_arguments(spec, success_reward=True)


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
    # The run's own stays as it was.
    spec = former if env is None else with_successes(spec_of(env), config.reading, config.goals)
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
