"""The actions of an environment: their bounds, and what a policy's -1 and 1 stand for."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction

from floq.envs.observations import form_of_space, is_vector


class Narrowed(gymnasium.Wrapper):
    """An environment of whose actions a part is used."""

    def __init__(self, env: gymnasium.Env, action_space: Box):
        """Changes the bounds of the actions, and nothing else."""
        super().__init__(env)
        self.action_space = action_space


def check_spaces(env: gymnasium.Env, name: str) -> None:
    """Refuses spaces that floq cannot learn in.

    Raises:
        ValueError: With the space and the way out.
    """
    observations, actions = env.observation_space, env.action_space
    try:
        form_of_space(observations)
    except ValueError as error:
        raise ValueError(
            f"environment {name!r} observes {error}. Give 'module:make', a function that returns "
            "it wrapped to show one (a Dict: by FlattenObservation)."
        ) from None
    if not is_vector(actions):
        raise ValueError(
            f"environment {name!r} has the action space {actions}: floq needs continuous actions, "
            "a flat Box of floats. Give 'module:make', a function that returns it wrapped to take "
            "such actions."
        )


def with_unit_actions(
    env: gymnasium.Env, name: str, action_low: Any = None, action_high: Any = None
) -> gymnasium.Env:
    """The environment with actions in [-1, 1].

    Args:
        env: The environment.
        name: What it is called in errors.
        action_low: What -1 stands for; its own lower bound by default.
        action_high: What 1 stands for.

    Raises:
        ValueError: If the bounds are none, or none of the environment's actions.
    """
    space = env.action_space
    assert isinstance(space, Box)
    if action_low is not None or action_high is not None:
        env = _narrowed(
            env,
            name,
            space.low if action_low is None else action_low,
            space.high if action_high is None else action_high,
        )
        space = env.action_space
        assert isinstance(space, Box)
    elif not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"environment {name!r} has unbounded actions, {space}: there is no scale for a policy "
            "in [-1, 1]. Give action_low= and action_high=, or an environment whose action space "
            "has finite bounds."
        )
    if is_unit(space):
        return env
    if (space.low >= space.high).any():
        raise ValueError(
            f"environment {name!r} has the action space {space}, in which an entry has a single "
            "value: give one whose lower bounds lie below its upper ones."
        )
    return RescaleAction(env, np.float32(-1), np.float32(1))


def _narrowed(env: gymnasium.Env, name: str, low: Any, high: Any) -> gymnasium.Env:
    space = env.action_space
    assert isinstance(space, Box)
    low, high = bounds_like(space, (low, high), f"action_low and action_high of {name!r}")
    # Bounds that went through text or another dtype may lie outside by their last digits.
    slack = 1e-5 * np.maximum(np.abs(low), np.abs(high))
    if (low < space.low - slack).any() or (high > space.high + slack).any():
        raise ValueError(
            f"action_low and action_high are {in_words(low)} and {in_words(high)}, but environment "
            f"{name!r} takes actions from {in_words(space.low)} to {in_words(space.high)}: give "
            "bounds within these, in the environment's own units."
        )
    low, high = np.maximum(low, space.low), np.minimum(high, space.high)
    return Narrowed(env, Box(low, high, dtype=low.dtype.type))


def bounds_like(space: Box, bounds: Sequence[Any], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Two finite bounds as arrays of the space's shape and dtype.

    Raises:
        ValueError: If they are no such.
    """
    try:
        low, high = (
            np.broadcast_to(np.asarray(bound, np.float64), space.shape).astype(space.dtype)
            for bound in bounds
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"{what} are {bounds!r}: give two bounds, each a number or {space.shape[0]} of them."
        ) from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(
            f"{what} are {in_words(low)} and {in_words(high)}: give finite numbers, the lower ones "
            "first."
        )
    return low, high


def is_unit(space: Box) -> bool:
    """Whether a space is [-1, 1] in every entry."""
    return bool((space.low == -1).all() and (space.high == 1).all())


def as_json(bound: np.ndarray) -> float | list[float]:
    """A bound as JSON holds it: one number where all entries have the same."""
    values: list[float] = np.asarray(bound).astype(float).tolist()
    return values[0] if len(set(values)) == 1 else values


def in_words(bound: Any) -> str:
    """A bound for people to read."""
    values = as_json(np.atleast_1d(bound))
    if isinstance(values, list):
        return str([float(f"{value:.4g}") for value in values])
    return f"{values:g}"
