"""Environments with goals: a line that one walks along, in gymnasium's form and in OGBench's."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Line(gymnasium.Env):
    """A place on a line with a velocity; observes a dictionary, and draws its goal by the seed."""

    def __init__(self, success_within: float = 0.1):
        one = Box(-10.0, 10.0, (1,), np.float32)
        self.observation_space = Dict(observation=one, achieved_goal=one, desired_goal=one)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.within = success_within

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.velocity, self.time = np.zeros(1), np.zeros(1), 0
        self.goal = self.np_random.uniform(-1, 1, 1)
        return self.seen(), {}

    def seen(self):
        parts = {"observation": self.velocity, "achieved_goal": self.place}
        parts["desired_goal"] = self.goal
        return {name: part.astype(np.float32) for name, part in parts.items()}

    def step(self, action):
        self.velocity, self.time = 0.5 * np.asarray(action), self.time + 1
        self.place = self.place + self.velocity
        is_there = bool(np.abs(self.place - self.goal)[0] < self.within)
        info = {"is_success": float(is_there)}
        return self.seen(), float(is_there) - 1, False, self.time == 8, info


class Points(gymnasium.Env):
    """A place on a line; a reset can choose among three goals, and says where the goal is.

    An episode ends at the goal. Each step pays 5, which goals leave out.
    """

    num_tasks = 3

    def __init__(self, says_goal: bool = True):
        self.observation_space = Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.says_goal = says_goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.place = 0, 0.0
        chosen = (options or {}).get("task_id")
        self.goal = float(chosen if chosen else self.np_random.integers(1, 4))
        info = {"goal": np.array([self.goal, -7.0], np.float32)} if self.says_goal else {}
        return self.seen(), info

    def seen(self):
        return np.array([self.place, self.time], np.float32)

    def step(self, action):
        self.place, self.time = self.place + float(action[0]), self.time + 1
        is_there = abs(self.place - self.goal) < 0.1
        return self.seen(), 5.0, is_there, self.time == 6, {"success": float(is_there)}


class Scored(Points):
    """Counts the goals that were scored."""

    goal_count = 3


class Lying(Points):
    """Says no goal."""

    def __init__(self):
        super().__init__(says_goal=False)
