"""An environment that works until it is told to break, registered as `Broken-v0`."""

import os
import signal
import time
from pathlib import Path

import gymnasium
import numpy as np

LENGTH = 5
"""Steps of an episode."""


class Broken(gymnasium.Env):
    """Pays the action, for episodes of `LENGTH` steps.

    While the file `orders` exists, it does what the file says when it says so: the words are the
    fault, the number of the episode in this copy of the environment, and the step in it. It takes
    the file away first, so that only one copy breaks, and once.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, orders: str, render_mode: str | None = None):
        self._orders = Path(orders)
        self._episode = -1
        self._time = 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
        """Starts an episode."""
        super().reset(seed=seed)
        self._episode += 1
        self._time = 0
        return self.np_random.normal(size=3).astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Goes on, or breaks."""
        observation = self.np_random.normal(size=3).astype(np.float32)
        reward = float(action[0])
        fault = self._due()
        if fault == "raise":
            raise ArithmeticError("the simulator broke")
        if fault == "hang":
            time.sleep(60)
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "nan":
            observation[1] = np.nan
        if fault == "nan reward":
            reward = np.nan
        self._time += 1
        return observation, reward, False, self._time == LENGTH, {}

    def _due(self) -> str:
        try:
            fault, episode, step = self._orders.read_text().split(",")
            if (int(episode), int(step)) != (self._episode, self._time):
                return ""
            self._orders.unlink()
        except OSError:
            return ""
        return fault


gymnasium.register("Broken-v0", f"{__name__}:Broken")
