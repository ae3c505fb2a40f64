"""What environments gave: a step of all of them, and the states that one has left."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Real


class Experience(NamedTuple):
    """One step of every environment, as a buffer takes it in.

    Attributes:
        actions: What was done.
        rewards: What it gave, in the environment's own units.
        terminated: Whether the episode reached a true end.
        truncated: Whether it was cut off.
        next_observations: What was seen after the step: at an end the episode's last observation.
        first_observations: What the next episode starts with; read where an episode ended.
    """

    actions: Float[Array, "envs act"] | np.ndarray
    rewards: Float[Array, " envs"] | np.ndarray
    terminated: Bool[Array, " envs"] | np.ndarray
    truncated: Bool[Array, " envs"] | np.ndarray
    next_observations: Real[Array, "envs obs"] | np.ndarray
    first_observations: Real[Array, "envs obs"] | np.ndarray


class Rows(NamedTuple):
    """States of one environment that it has left, in the order in which it saw them.

    Attributes:
        observations: The states, float32 [rows, obs], or the bytes of what has a form.
        actions: The action at each, float32 [rows, act].
        rewards: Its reward, float32 [rows].
        masks: 1 - terminated, float32 [rows].
        lasts: Whether the state is an episode's last, from which nothing was done, bool [rows].
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    masks: np.ndarray
    lasts: np.ndarray

    @classmethod
    def empty(cls, observations: np.ndarray, action_dim: int) -> "Rows":
        """No state yet of an environment that shows what is in a row of `observations`."""
        return cls(
            np.zeros((0, observations.shape[1]), observations.dtype),
            np.zeros((0, action_dim), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.bool_),
        )

    def with_last(self, observation: np.ndarray) -> "Rows":
        """With one more state, the last of an episode that is cut there."""
        last = (observation, np.zeros(self.actions.shape[1]), 0, 1, True)
        pairs = zip(self, last, strict=True)
        return Rows(*(np.append(a, np.asarray([b], a.dtype), axis=0) for a, b in pairs))


def depths_of(lasts: np.ndarray, is_whole: bool, most: int) -> np.ndarray:
    """Of each row of a history, and the present one, the steps of its episode before it.

    Args:
        lasts: Whether a row is an episode's last.
        is_whole: Whether the history's first row is an episode's first; `most` are before it
            otherwise.
        most: The largest number that matters.
    """
    rows = np.arange(len(lasts) + 1)
    begins = np.concatenate([[is_whole], lasts])
    first = np.maximum.accumulate(np.where(begins, rows, -most))
    return np.minimum(rows - first, most)


def valid_starts(masks: np.ndarray, lasts: np.ndarray, chunk: int, lookahead: int) -> np.ndarray:
    """Which rows of a history a transition starts from, bool [rows]."""
    rows = len(masks)
    # Of each row: the transitions from it on, until the episode's last state or the present one.
    ends = np.append(np.flatnonzero(lasts), rows)
    own_end = ends[np.searchsorted(ends, np.arange(rows))]
    remaining = own_end - np.arange(rows)
    # Only the step before a last state can have been terminal.
    ends_truly = masks[np.maximum(own_end - 1, 0)] == 0 if rows else np.zeros(0, np.bool_)
    return (remaining >= lookahead) | (ends_truly & (remaining >= chunk))
