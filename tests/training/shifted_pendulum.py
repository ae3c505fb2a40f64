"""A pendulum with a constant among its observations, and the same normalised by hand."""

import gymnasium
import numpy as np

GENERATOR = np.random.default_rng(0)
OBSERVATIONS = GENERATOR.normal([0, 0.5, -2, 7], [1, 0.2, 8, 0], (40, 4)).astype(np.float32)
MEAN = OBSERVATIONS.mean(0, np.float64).astype(np.float32)
DEVIATION = np.array([*OBSERVATIONS.std(0, np.float64)[:3], 1.0], np.float32)


class Shown(gymnasium.ObservationWrapper):
    def __init__(self, show):
        super().__init__(gymnasium.make("Pendulum-v1", max_episode_steps=8))
        self.show = show
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)

    def observation(self, observation):
        return self.show(np.array([*observation, 7.0], np.float32))


def raw():
    return Shown(lambda observation: observation)


def normal():
    return Shown(lambda observation: (observation - MEAN) / DEVIATION)
