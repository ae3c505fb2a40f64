"""An environment whose observations are dictionaries, which minari can build by its id."""

import gymnasium
import numpy as np


class Dictionaries(gymnasium.Env):
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, side=8):
        self._shape = (side, side, 3)
        self.observation_space = gymnasium.spaces.Dict(
            observation=gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64),
            goal=gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64),
            pixels=gymnasium.spaces.Box(0, 255, self._shape, np.uint8),
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count = 0
        return self._observation(), {}

    def _observation(self):
        return {
            "observation": self.np_random.normal(size=4),
            "goal": np.full(2, self.step_count, np.float64),
            "pixels": self.np_random.integers(0, 256, self._shape, dtype=np.uint8),
        }

    def step(self, action):
        self.step_count += 1
        return self._observation(), -1.0, self.step_count == 7, self.step_count == 9, {}
