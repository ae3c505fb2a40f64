"""Small environments that are seen: a point on a line, as an image, a dictionary or a vector."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from floq.data.dataset import Dataset

SIDE, STEPS = 8, 6


class Seen(gymnasium.Env):
    """A point that actions move along a line, seen from above in a picture of 8 × 8 pixels."""

    def __init__(self, show="image", zero=0.0, unit=1.0):
        self.show = show
        # Where the vector's entries are zero, and what one of them is, in those that it shows.
        self.zero, self.unit = np.array(zero), np.array(unit)
        image = Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        vector = Box(-np.inf, np.inf, (2,), np.float32)
        spaces = {"image": image, "both": Dict({"place": vector, "camera": image})}
        self.observation_space = (spaces | {"vector": vector})[show]
        self.action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = self.np_random.uniform(-1, 1), 0
        return self._observed(), {}

    def step(self, action):
        self.place = float(np.clip(self.place + 0.3 * action[0], -1, 1))
        self.time += 1
        done = abs(self.place) < 0.1
        reward = 0.0 if done else -1.0
        return self._observed(), reward, done, self.time == STEPS, {"success": done}

    def _observed(self):
        image = np.zeros((SIDE, SIDE, 1), np.uint8)
        image[:, int((self.place + 1) / 2 * (SIDE - 1))] = 255
        image[0, 0] = self.time
        vector = self.zero + self.unit * np.array([self.place, self.time / STEPS])
        vector = vector.astype(np.float32)
        return {"image": image, "both": {"place": vector, "camera": image}, "vector": vector}[
            self.show
        ]


def make_seen(show="image", zero=0.0, unit=1.0):
    """The environment, to be imported by workers."""
    return Seen(show, zero, unit)


def stacked(observations):
    """Observations of an episode as one array, or a dictionary of arrays."""
    if isinstance(observations[0], dict):
        return {key: np.stack([one[key] for one in observations]) for key in observations[0]}
    return np.stack(observations)


def seen_data(show="image", *, episodes=8, seed=0, zero=0.0, unit=1.0):
    """A dataset of random episodes, and what it was made from."""
    env, generator = Seen(show, zero, unit), np.random.default_rng(seed)
    observations, actions, rewards, masks, terminals = [], [], [], [], []
    for episode in range(episodes):
        observations.append(env.reset(seed=episode)[0])
        done = cut = False
        while not (done or cut):
            action = generator.uniform(-1, 1, 1).astype(np.float32)
            observation, reward, done, cut, _ = env.step(action)
            observations.append(observation)
            actions.append(action)
            rewards.append(reward)
            masks.append(1.0 - done)
            terminals.append(0)
        actions.append(np.zeros(1, np.float32))
        rewards.append(-1.0)
        masks.append(1.0)
        terminals.append(1)
    arrays = (stacked(observations), np.stack(actions), *map(np.array, (rewards, masks, terminals)))
    return Dataset.from_trajectories(*arrays, layout="states"), arrays
