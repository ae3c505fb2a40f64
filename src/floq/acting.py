"""What acting keeps from step to step: keys that anybody can derive again, and plans."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from floq.envs.slots import Sizes
from floq.observations import Frames


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

    def actions(self, active: np.ndarray, times: np.ndarray, ask: Callable[[], Any]) -> np.ndarray:
        """The actions of step `times` of every row's episode, float32 [rows, act] in [-1, 1].

        Args:
            active: The rows that are in an episode; only theirs mean anything.
            times: The rows' steps in their episodes, [rows].
            ask: Gives the policy's actions for all rows now. Asked where a plan is used up.

        Raises:
            ValueError: If the policy's actions have a wrong shape or are not finite.
        """
        due = times % self.length == 0
        if due[active].any():
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
