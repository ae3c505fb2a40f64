"""Environments that are rewarded by success alone, where episodes end."""

from typing import Any

import gymnasium
import numpy as np


class SuccessReward(gymnasium.Wrapper):
    """Rewards the step whose info reports success by 1 and any other by 0, and ends there.

    Data that is read with `rewards="success"` has the same rewards, and values that end there.
    """

    def __init__(self, env: gymnasium.Env, name: str):
        """Wraps an environment, called so in errors."""
        super().__init__(env)
        self._name = name

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
            ValueError: If its info does not say whether the task is solved.
        """
        observation, _, terminated, truncated, info = self.env.step(action)
        told = info.get("success" if "success" in info else "is_success")
        numbers = np.asarray(told).ravel()
        if numbers.size != 1 or numbers[0] not in (0, 1):
            raise ValueError(
                f"environment {self._name!r} is to be rewarded by success, and a step of it "
                f"reports the success {told!r}: have the info of each step hold success or "
                "is_success, true or false, or leave out success_reward (--rewards success), which "
                "keeps the environment's own rewards"
            )
        is_solved = bool(numbers[0])
        return observation, float(is_solved), is_solved or terminated, truncated, info
