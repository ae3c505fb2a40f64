"""Environments as users bring them, each wrong or odd in one way."""

import random
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.wrappers import RescaleAction, TimeLimit

LENGTH = 6
"""Steps of an episode, where it ends."""

_SPACES: dict[str, Any] = {
    "a dictionary to see": Dict({"state": Box(-9, 9, (3,))}),
    "a picture to see": Box(0, 255, (8, 8, 3), np.uint8),
    "four numbers to see": Box(-9, 9, (4,)),
}
_ACTIONS: dict[str, Any] = {
    "numbered actions": Discrete(3),
    "bounds of 3": Box(-3, 3, (1,)),
    "bounds from 0 to 1": Box(0, 1, (1,)),
    "no bounds": Box(-np.inf, np.inf, (1,)),
    "two actions": Box(-1, 1, (2,)),
    "bounds of 3, scaled": Box(-3, 3, (1,)),
}
_REWARDS: dict[str, Any] = {
    "a reward in a list": [0.5],
    "a reward in an array": np.zeros(1),
    "no reward": None,
    "a reward in words": "0.5",
    "an infinite reward": np.inf,
    "a reward that is no number": np.float32("nan"),
    "a reward of numpy": np.float32(0.5),
    "a whole reward": 1,
}
_ENDS: dict[str, Any] = {"an end in words": "no", "no end": None, "an end of 2": 2, "ends of 0": 0}
_INFOS: dict[str, Any] = {
    "success in words": {"success": "yes"},
    "a success of 3": {"success": 3.0},
    "is_success in words": {"is_success": "yes"},
    "no info": None,
    "is_success": {"is_success": True},
    "success of numpy": {"success": np.bool_(True)},
    "success in an array": {"success": np.ones(1)},
}
_SIGHTS: dict[str, Any] = {
    "words to see": np.array(["a", "b", "c"]),
    "objects to see": np.array([object()] * 3),
    "another shape": np.zeros((3, 1), np.float32),
    "one number less": np.zeros(2, np.float32),
    "numbers that are none": np.full(3, np.nan),
    "numbers beyond float32": np.full(3, 1e300),
    "float64": np.zeros(3),
    "a list": [0.0, 1.0, 2.0],
}
_SHARED: list[gymnasium.Env] = []


class User(gymnasium.Env):
    """Pays the action, and does what `kind` says from step `when` on; 0 is the reset."""

    def __init__(self, kind: str, when: int = 0, render_mode: str | None = None):
        if kind == "an error at its making":
            raise KeyError("no such robot")
        self.observation_space = _SPACES.get(kind, Box(-9, 9, (3,)))
        self.action_space = _ACTIONS.get(kind, Box(-1, 1, (1,)))
        self._kind, self._when, self._time = kind, when, 0

    def reset(self, *, seed: int | None = None, options: object = None) -> Any:
        """Starts an episode."""
        super().reset(seed=seed)
        self._time = 0
        observation = self._observed()
        if self._kind == "a reset without info":
            return observation
        return observation, {}

    def step(self, action: np.ndarray) -> Any:
        """Goes on."""
        self._time += 1
        is_due = self._time >= self._when
        reward = _REWARDS.get(self._kind, float(action[0])) if is_due else 0.0
        terminated = _ENDS.get(self._kind, False) if is_due else False
        info = _INFOS.get(self._kind, {}) if is_due else {}
        truncated = self._time >= LENGTH and self._kind != "episodes without end"
        if self._kind == "a step of four" and is_due:
            return self._observed(), reward, truncated, info
        return self._observed(), reward, terminated, truncated, info

    def _observed(self) -> Any:
        if self._time >= self._when:
            if self._kind == "an error":
                raise ArithmeticError("the robot fell")
            if self._kind == "an exit":
                sys.exit(3)
            if self._kind == "words on the output":
                print("the robot talks")
            if self._kind == "draws of its own":
                return np.array([random.random(), 0, 0], np.float32)
            if self._kind == "beyond its space":
                return np.full(3, 99, np.float32)
            if self._kind in _SIGHTS:
                return _SIGHTS[self._kind]
        shape = getattr(self.observation_space, "shape", None) or (3,)
        return np.clip(self.np_random.normal(size=shape), -9, 9).astype(np.float32)


def make(kind: str, when: int = 0) -> gymnasium.Env:
    """The environment with a time limit, and scaled or shared where its kind says so."""
    if kind == "one for all":
        if not _SHARED:
            _SHARED.append(TimeLimit(User(kind), 20))
        return _SHARED[0]
    env = TimeLimit(User(kind, when), 20)
    return RescaleAction(env, -1.0, 1.0) if kind == "bounds of 3, scaled" else env


def no_environment() -> str:
    """What no environment is."""
    return "a robot"


gymnasium.register("User-v0", f"{__name__}:User")
