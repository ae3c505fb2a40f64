"""Learned values beside the returns that followed: how far a critic is right."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from floq.acting import Moment
from floq.algorithms.common import data_chunk
from floq.data.dataset import Dataset
from floq.envs.make import EnvironmentSpec, time_limit
from floq.evaluation import Evaluator, shown
from floq.intervals import CONFIDENCE, Interval
from floq.runs.run import Run
from floq.streams import complain
from floq.types import Policy

_BEYOND = 0.01
"""Weight at which what follows later no longer counts in a return."""

_DECISIONS = 2048
"""Decisions that are looked at, at most: enough for narrow intervals, and quick."""

_RESAMPLES = 500

_BINS = 8
"""Groups of decisions of similar value."""

_OWN_LIMIT = (
    "A TimeLimit inside of an environment's function cannot be played past. Leave it out there, "
    "and give the limit by --env and --max-episode-steps, or by max_episode_steps= to "
    "floq.make_env or at the registration of an id."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Decisions:
    """States and actions with the return that followed each.

    Attributes:
        observations: The states, [decisions, obs].
        actions: What was done, [decisions, act]; whole chunks where a decision lasts longer.
        returns: The discounted return that followed, [decisions].
        episodes: The episode of each, [decisions]: returns of one episode are not independent.
        horizon: Steps that a return counts.
    """

    observations: np.ndarray
    actions: np.ndarray
    returns: np.ndarray
    episodes: np.ndarray
    horizon: int


def return_horizon(discount: float) -> int:
    """Steps after which the discount has fallen to 1 %."""
    return 1 if discount == 0 else math.ceil(math.log(_BEYOND) / math.log(discount))


def horizon_returns(
    rewards: np.ndarray, masks: np.ndarray, discount: float, horizon: int
) -> np.ndarray:
    """The discounted sum of the `horizon` rewards after each step, up to a terminal one.

    Every return counts the same number of steps, so that those near a time limit do not look
    better than others.

    Args:
        rewards: Rewards of one trajectory, [length].
        masks: 1 − terminated, [length].
        discount: γ.
        horizon: Steps to count.

    Returns:
        The sums, [length]; NaN where the trajectory ended too early to know.
    """
    length = len(rewards)
    totals = np.zeros(length + 1)
    # The first terminal step from each one on.
    terminal = np.full(length + 1, np.iinfo(np.int64).max)
    for step in reversed(range(length)):
        totals[step] = rewards[step] + discount * masks[step] * totals[step + 1]
        terminal[step] = step if masks[step] == 0 else terminal[step + 1]
    steps = np.arange(length)
    last = np.minimum(steps + horizon, length)
    goes_on = terminal[:-1] >= steps + horizon
    sums = totals[:-1] - np.where(goes_on, discount**horizon * totals[last], 0.0)
    return np.where(goes_on & (steps + horizon > length), np.nan, sums)


def played_decisions(
    policy: Policy,
    environment: EnvironmentSpec,
    *,
    episodes: int,
    seed: int,
    discount: float,
    action_chunk: int = 1,
    processes: int | None = None,
) -> Decisions:
    """Decisions of a policy in its environment.

    Values know nothing of a time limit, so episodes are played on past theirs until the returns of
    all decisions before it are known.

    Args:
        policy: The policy.
        environment: The environment.
        episodes: Episodes to play.
        seed: Seed of the episodes, as in `floq.evaluation`.
        discount: γ of a single step.
        action_chunk: Steps that a decision lasts.
        processes: Processes that step environments.
    """
    horizon = return_horizon(discount)
    moments: dict[int, list[tuple[np.ndarray, ...]]] = defaultdict(list)

    def keep(moment: Moment) -> None:
        steps = moment.steps
        rows = zip(
            moment.observations, moment.actions, steps.rewards, steps.terminated, strict=True
        )
        for episode, row in zip(moment.episodes.tolist(), rows, strict=True):
            moments[episode].append(row)

    with Evaluator(_with_longer_limit(environment, horizon - 1), processes=processes) as evaluator:
        shown(evaluator, policy, episodes=episodes, seed=seed, on_step=keep)
    found = []
    for episode, rows in sorted(moments.items()):
        observations, actions, rewards, ended = map(np.array, zip(*rows, strict=True))
        returns = horizon_returns(rewards, 1.0 - ended, discount, horizon)
        # A chunk that the episode's end cut short is not what the policy decided on.
        starts = np.arange(0, len(rewards) - action_chunk + 1, action_chunk)
        chunks = actions[starts[:, None] + np.arange(action_chunk)].reshape(len(starts), -1)
        found.append((observations[starts], chunks, returns[starts], np.full(len(starts), episode)))
    observations, actions, returns, numbers = map(np.concatenate, zip(*found, strict=True))
    known = _known(returns, horizon, _OWN_LIMIT)
    return Decisions(observations[known], actions[known], returns[known], numbers[known], horizon)


def run_decisions(
    run: Run, seed: int, *, episodes: int, episode_seed: int = 0, processes: int | None = None
) -> Decisions:
    """Decisions of a run's policy in its environment.

    Args:
        run: The run.
        seed: The run's seed whose policy plays.
        episodes: Episodes to play.
        episode_seed: Seed of the episodes.
        processes: Processes that step environments.

    Raises:
        ValueError: If the run has no environment, it cannot be built here, or no return is known.
    """
    if run.config.environment is None:
        raise ValueError(f"{run.directory} was trained without an environment.")
    config = run.config.config
    return played_decisions(
        run.policy_of(seed),
        run.config.environment,
        episodes=episodes,
        seed=episode_seed,
        discount=config.discount,
        action_chunk=data_chunk(config),
        processes=processes,
    )


def data_decisions(dataset: Dataset, decisions: Dataset, *, discount: float) -> Decisions:
    """Decisions of the data, with the returns of whoever collected it.

    Args:
        dataset: The data, one row a step.
        decisions: The same data as the algorithm sees it, with its action chunks.
        discount: γ of a single step.
    """
    horizon = return_horizon(discount)
    rewards, masks = np.asarray(dataset.rewards, float), np.asarray(dataset.masks)
    rows = np.asarray(dataset.transitions)
    trajectories = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    returns, number = np.full(len(rewards), np.nan), np.zeros(len(rewards), np.int64)
    for index, own in enumerate(trajectories):
        returns[own] = horizon_returns(rewards[own], masks[own], discount, horizon)
        number[own] = index
    starts = np.asarray(decisions.transitions)
    known = _known(returns[starts], horizon)
    batch = decisions.take(jnp.asarray(known))
    return Decisions(
        np.asarray(batch.observations),
        np.asarray(batch.actions),
        returns[starts[known]],
        number[starts[known]],
        horizon,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Bin:
    """Decisions of similar value.

    Attributes:
        value: Their mean value.
        outcome: The mean of their returns, and its interval over episodes.
    """

    value: float
    outcome: Interval


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Values beside the returns that followed; intervals are over episodes.

    Attributes:
        values: Q of each decision, [decisions].
        returns: What followed it, [decisions].
        episodes: Number of episodes.
        error: Root of the mean squared difference.
        bias: Mean of value − return: above 0 where values promise too much.
        spearman: Rank correlation; None if all returns, or all values, are equal.
        bins: Means over groups of similar value, from low to high.
    """

    values: np.ndarray
    returns: np.ndarray
    episodes: int
    error: Interval
    bias: Interval
    spearman: Interval | None
    bins: Sequence[Bin]


def calibration(values: np.ndarray, decisions: Decisions) -> Calibration:
    """How the values of decisions compare with what followed.

    Args:
        values: Q of each decision, [decisions].
        decisions: The decisions.
    """
    returns, episodes = decisions.returns, decisions.episodes
    groups = []
    for rows in np.array_split(np.argsort(values, kind="stable"), min(_BINS, len(values))):
        outcome = over_episodes(lambda own, rows=rows: returns[rows[own]].mean(), episodes[rows])
        groups.append(Bin(float(values[rows].mean()), outcome))
    return Calibration(
        values,
        returns,
        len(np.unique(episodes)),
        over_episodes(lambda rows: root_mean_square((values - returns)[rows]), episodes),
        over_episodes(lambda rows: (values - returns)[rows].mean(), episodes),
        rank_correlation(values, returns, episodes),
        groups,
    )


def rank_correlation(
    values: np.ndarray, returns: np.ndarray, episodes: np.ndarray
) -> Interval | None:
    """Spearman's correlation with its interval; None where it has no meaning."""

    def correlation(rows: np.ndarray) -> float:
        left, right = values[rows], returns[rows]
        if np.ptp(left) == 0 or np.ptp(right) == 0:
            return math.nan
        return float(np.corrcoef(ranks(left), ranks(right))[0, 1])

    if math.isnan(correlation(np.arange(len(values)))):
        return None
    return over_episodes(correlation, episodes)


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value from 1; those that are equal share the mean of theirs."""
    # As scipy.stats.rankdata, whose import takes longer than all ranks of a page.
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def root_mean_square(values: np.ndarray) -> float:
    """√ of the mean of the squares."""
    return float(np.sqrt(np.mean(np.square(values))))


def over_episodes(statistic: Callable[[np.ndarray], float], episodes: np.ndarray) -> Interval:
    """A statistic of decisions with the 95 % interval of the bootstrap over whole episodes.

    It says how other episodes of the same policy would have come out, and nothing of training
    another seed.

    Args:
        statistic: Maps rows to a number; NaN where these rows have none.
        episodes: The episode of each row. A single one has an unbounded interval.
    """
    value = float(statistic(np.arange(len(episodes))))
    rows_of = [np.flatnonzero(episodes == episode) for episode in np.unique(episodes)]
    if len(rows_of) == 1:
        return Interval(value, -math.inf, math.inf)
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(rows_of), (_RESAMPLES, len(rows_of)))
    found = np.array([statistic(np.concatenate([rows_of[i] for i in own])) for own in drawn])
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(found[np.isfinite(found)], [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def _with_longer_limit(environment: EnvironmentSpec, steps: int) -> EnvironmentSpec:
    """The environment with a time limit that comes `steps` later, if it has one."""
    limit = _limit_of(environment)
    if limit is None:
        return environment
    kwargs: dict[str, Any] = {**environment.kwargs, "max_episode_steps": limit + steps}
    longer = dataclasses.replace(environment, kwargs=kwargs)
    found = _limit_of(longer)
    if found is not None and found < limit + steps:
        complain(
            f"Episodes end after {found:,} steps, so that the returns of their last {steps:,} "
            f"steps are not known unless they truly end: {_OWN_LIMIT}"
        )
        return longer
    complain(  # Where progress is shown: a table of readings has standard output for itself.
        f"Episodes are played on for {steps:,} steps past their limit of {limit:,}, until the "
        "returns of all decisions before it are known."
    )
    return longer


def _limit_of(environment: EnvironmentSpec) -> int | None:
    env = environment.make()
    env.close()
    return time_limit(env)


def _known(returns: np.ndarray, horizon: int, way_out: str = "") -> np.ndarray:
    """The decisions whose return is known, spread evenly if there are many.

    Args:
        returns: The returns, NaN where they are not known.
        horizon: Steps that a return counts.
        way_out: What is said besides where none is known.

    Raises:
        ValueError: If there is none.
    """
    known = np.flatnonzero(np.isfinite(returns))
    if not known.size:
        raise ValueError(
            f"no return is known: no episode ended, or lasted the {horizon:,} steps after which "
            f"later rewards no longer count.{way_out and ' ' + way_out}"
        )
    chosen = np.linspace(0, known.size - 1, min(known.size, _DECISIONS))
    return known[np.unique(chosen.round().astype(np.int64))]
