"""An environment of your own: a module that can be imported, with a class or a function."""

import gymnasium
import numpy as np


class Reach(gymnasium.Env):
    """A hand in the plane is to reach a place; actions are forces of up to 5 newtons."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-5.0, 5.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # All that is random comes from self.np_random.
        self.hand, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._observation(), {}

    def step(self, action):
        self.hand = np.clip(self.hand + 0.02 * np.clip(action, -5, 5), -1, 1)
        there = bool(np.linalg.norm(self.hand - self.goal) < 0.2)
        # `success` in the info is what evaluations count.
        return self._observation(), there - 1.0, there, False, {"success": there}

    def _observation(self):
        return np.concatenate([self.hand, self.goal]).astype(np.float32)


def make() -> gymnasium.Env:
    """The environment, whose episodes end after 50 steps."""
    return gymnasium.wrappers.TimeLimit(Reach(), 50)
