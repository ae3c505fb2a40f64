"""Acting step by step: keys that anybody can derive again, plans, and episodes as they go."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from floq.envs.slots import Sizes, Slots, Steps
from floq.envs.vector import VectorEnvironment
from floq.observations import Frames
from floq.types import Policy

BATCH = 32
"""Rows of a policy's call where it says no number, and so the most slots of an evaluation."""


def step_keys(seed: int, episodes: np.ndarray, times: np.ndarray) -> jax.Array:
    """The key of each row's action: that of step `times` of episode `episodes`, [batch]."""
    return _step_keys(np.uint32(seed), episodes, times)


@jax.jit
def _step_keys(seed: jax.Array, episodes: jax.Array, times: jax.Array) -> jax.Array:
    key = jax.random.key(seed)
    return jax.vmap(lambda e, t: jax.random.fold_in(jax.random.fold_in(key, e), t))(episodes, times)


def episode_seed(seed: int, episode: int) -> int:
    """The seed of an episode's environment, below 2³²."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed}: it must be at least 0 and below 2**32.")
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def episode_goals(episodes: np.ndarray, goal_count: int) -> np.ndarray:
    """The goal of each episode from 1, in turn; 0 where the environment has none to choose."""
    return episodes % goal_count + 1 if goal_count else np.zeros_like(episodes)


def planned(
    policy: Any,
    due: np.ndarray,
    observations: np.ndarray,
    episodes: np.ndarray,
    times: np.ndarray,
    *,
    seed: int,
) -> Any:
    """A policy's actions for the rows that need them, [batch, length · act]; others mean nothing.

    A policy that has a number of `rows` is asked for so many at a time: always in one shape, and
    without the work for rows that need nothing. Any other one is asked for the whole batch.

    Args:
        policy: The policy.
        due: The rows that need actions, at least one.
        observations: What each row shows, [batch, obs].
        episodes: Each row's episode, [batch].
        times: Each row's step in it, [batch].
        seed: The evaluation's.
    """
    rows = getattr(policy, "rows", None)
    if rows is None:
        return policy(observations, step_keys(seed, episodes, times))
    blocks = np.resize(due, (-(-len(due) // rows), rows))
    found = [policy(observations[b], step_keys(seed, episodes[b], times[b])) for b in blocks]
    actions = np.zeros((len(observations), found[0].shape[1]), np.float32)
    actions[blocks.ravel()] = np.concatenate(found)
    return actions


def frames_for(policy: Any, rows: int, sizes: Sizes) -> Frames:
    """What a policy that acts on so many environments at once sees of them: its latest frames."""
    count = getattr(policy, "frames", 1)
    return Frames(rows, sizes.observation_dim, count=count, dtype=sizes.dtype)


def check_goals(episodes: int, goal_count: int) -> None:
    """Refuses numbers of episodes in which goals would not count alike.

    Raises:
        ValueError: If it is one.
    """
    if goal_count and episodes % goal_count:
        raise ValueError(
            f"{episodes} evaluation episodes for {goal_count} goals, which take turns: give a "
            f"multiple of {goal_count}, so that each counts alike."
        )


class Plans:
    """What every row does next.

    A policy may return several actions at once, an action chunk [rows, length · act]: they are
    carried out one after the other before it is asked again.

    Attributes:
        ahead: The actions that were planned last, float32 [rows, length, act].
    """

    def __init__(self, rows: int, action_dim: int):
        """Starts without a plan.

        Args:
            rows: Environments, or places for them.
            action_dim: Entries of one action of the environment.
        """
        self.ahead = np.zeros((rows, 1, action_dim), np.float32)

    @property
    def length(self) -> int:
        """Steps of a plan; 1 until the first one is made."""
        return self.ahead.shape[1]

    def due(self, active: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The active rows whose plan is used up."""
        return active[times[active] % self.length == 0]

    def actions(self, active: np.ndarray, times: np.ndarray, ask: Callable[[], Any]) -> np.ndarray:
        """The actions of step `times` of every row's episode, float32 [rows, act] in [-1, 1].

        Args:
            active: The rows that are in an episode; only theirs mean anything.
            times: The rows' steps in their episodes, [rows].
            ask: Gives the policy's actions for all rows now. Asked where a plan is used up.

        Raises:
            ValueError: If the policy's actions have a wrong shape or are not finite.
        """
        if self.due(active, times).size:
            due = times % self.length == 0
            planned = self._checked(ask())
            # The length shows with the first plan, which is made for all rows at their step 0.
            self.ahead = np.where(due[:, None, None], planned, self.ahead)
        return self.ahead[np.arange(len(times)), times % self.length]

    def _checked(self, planned: Any) -> np.ndarray:
        """The policy's plans, float32 [rows, length, act], clipped to [-1, 1]."""
        actions = np.asarray(planned, np.float32)
        rows, _, dim = self.ahead.shape
        if actions.ndim != 2 or len(actions) != rows or actions.shape[1] % dim or actions.size == 0:
            raise ValueError(
                f"the policy returned actions of shape {actions.shape} for {rows} observations: it "
                f"must return ({rows}, {dim}), or a multiple of {dim} entries a row for several "
                "actions in sequence."
            )
        if not np.isfinite(actions).all():
            raise ValueError(
                "the policy returned actions that are not finite: its parameters hold NaN or "
                "infinity, or it divides by zero somewhere."
            )
        return np.clip(actions, -1.0, 1.0).reshape(rows, -1, dim)


class Moment(NamedTuple):
    """One step of all episodes that are going on, one row per episode.

    Attributes:
        episodes: Their numbers, int [batch].
        observations: What the policy saw, float32 [batch, obs].
        actions: What it did, float32 [batch, act] in [-1, 1].
        steps: What came of it.
    """

    episodes: np.ndarray
    observations: np.ndarray
    actions: np.ndarray
    steps: Steps


class Rollouts:
    """Episodes of an evaluation, as they go.

    Attributes:
        returns: Undiscounted sum of each episode's rewards so far, [episodes].
        lengths: Its steps so far, [episodes].
        successes: The most that it reported of success, NaN where nothing, [episodes].
        frames: What the policy sees, one row for each slot.
        active: Slots that have an episode, int [active].
        finished: Number of finished episodes.
    """

    def __init__(
        self,
        policy: Policy,
        environments: Slots | VectorEnvironment,
        slots: int,
        episodes: Sequence[int] | np.ndarray,
        seed: int,
    ):
        """Starts the first episodes, each in a slot.

        Args:
            policy: Who acts.
            environments: Where.
            slots: How many of them there are, at most `BATCH`.
            episodes: The episodes' numbers.
            seed: Together with an episode's number it fixes all that is random in it.

        Raises:
            TypeError: If nobody can act so.
        """
        if not callable(policy):
            raise TypeError(
                f"policy is of type {type(policy).__name__}: give a function of observations and "
                "keys, such as the `policy` of a run."
            )
        self._policy, self._environments, self._seed = policy, environments, seed
        self._plans = Plans(BATCH, environments.sizes.action_dim)
        self._numbers = np.asarray(episodes, np.int32)
        self.returns = np.zeros(len(episodes))
        self.lengths = np.zeros(len(episodes), np.int64)
        self.successes = np.full(len(episodes), np.nan)
        self.frames = frames_for(policy, BATCH, environments.sizes)
        # Of each row: the place of its episode, and the step that comes next in it.
        self._episode = np.zeros(BATCH, np.int32)
        self._time = np.zeros(BATCH, np.int32)
        self._begun = 0
        self.finished = 0
        self._free = np.arange(min(slots, len(episodes)))
        self.active = self._free[:0]
        self._begin()

    @property
    def longest(self) -> int:
        """Steps of the longest episode that is going on."""
        return int(self._time[self.active].max(initial=0))

    def step(self) -> Moment:
        """Steps every active slot."""
        active, episodes = self.active, self._episode[self.active]
        actions = self._plans.actions(active, self._time, self._ask)[active]
        steps = self._environments.step(active, actions)
        moment = Moment(self._numbers[episodes], self.frames.stacked[active], actions, steps)
        self.frames.push(active, steps.observations)
        self._time[active] += 1
        self.returns[episodes] += steps.rewards
        self.lengths[episodes] += 1
        self.successes[episodes] = np.fmax(self.successes[episodes], steps.successes)
        ended = active[steps.terminated | steps.truncated]
        self.finished += len(ended)
        self._free = np.union1d(self._free, ended)
        self.active = np.setdiff1d(active, ended)
        # All plans end together, so that episodes share the calls of the policy.
        if not (self._time[self.active] % self._plans.length).any():
            self._begin()
        return moment

    def _ask(self) -> Any:
        """The policy's actions for the rows that need new ones, at their present steps."""
        due, numbers = self._plans.due(self.active, self._time), self._numbers[self._episode]
        rows = self.frames.stacked, numbers, self._time
        return planned(self._policy, due, *rows, seed=self._seed)

    def _begin(self) -> None:
        """Starts the next episodes in the slots that are free."""
        slots, self._free = np.split(self._free, [len(self._numbers) - self._begun])
        if slots.size == 0:
            return
        self._episode[slots] = self._begun + np.arange(slots.size)
        self._time[slots] = 0
        self._begun += slots.size
        numbers = self._numbers[self._episode[slots]]
        seeds = np.array([episode_seed(self._seed, int(number)) for number in numbers])
        goals = episode_goals(numbers, self._environments.sizes.goal_count)
        self.frames.begin(slots, self._environments.reset(slots, seeds, goals))
        self.active = np.union1d(self.active, slots)
