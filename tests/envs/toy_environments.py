"""A small environment with known behaviour and chosen faults, registered as `Toy-v0`."""

import os
import sys
import time

import gymnasium
import numpy as np


class Toy(gymnasium.Env):
    """Shows its step and three random numbers; pays the sum of the action and of these numbers.

    Episodes end after `length` steps, or after 2 to 9 steps drawn at the reset if it is 0.
    With a `success_at`, `info["success"]` is 1 at that step only. From step `when` on, it does what
    `fault` says.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)

    def __init__(
        self,
        length=0,
        success_at=-1,
        fault="",
        when=3,
        high=1.0,
        render_mode=None,
    ):
        self.action_space = gymnasium.spaces.Box(-high, high, (2,), np.float32)
        self.length, self.success_at, self.fault, self.when = length, success_at, fault, when
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.end = self.length or int(np.random.randint(2, 10))  # noqa: NPY002
        return self.observe(), {}

    def observe(self):
        shared = np.random.uniform()  # noqa: NPY002
        draws = self.np_random.uniform(), shared, self.action_space.sample()[0]
        return np.array([self.time, *draws], np.float32)

    def step(self, action):
        self.actions.append(action)
        self.time += 1
        observation = self.observe()
        if self.fault and self.time >= self.when:
            self.misbehave(observation)
        info = {} if self.success_at < 0 else {"success": float(self.time == self.success_at)}
        reward = float(np.sum(action) + np.sum(observation[1:]))
        return observation, reward, self.time == self.end, False, info

    def misbehave(self, observation):
        if self.fault == "raise":
            raise ArithmeticError("the toy broke")
        if self.fault == "hang":
            time.sleep(60)
        if self.fault == "die":
            print("the toy dies", file=sys.stderr, flush=True)
            os._exit(3)
        if self.fault == "print":
            print("the toy talks")
        if self.fault == "nan":
            observation[2] = np.nan


class Counter(gymnasium.Env):
    """Actions are numbers, not vectors."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)


class Picture(gymnasium.Env):
    """Observations are pictures of floats, which no encoder reads."""

    observation_space = gymnasium.spaces.Box(0, 1, (8, 8, 3), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)


class ChannelsFirst(gymnasium.Env):
    """Observations are images of bytes, of three channels that come first."""

    observation_space = gymnasium.spaces.Box(0, 255, (3, 16, 20), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((3, 16, 20), np.uint8), {}

    def step(self, action):
        return np.zeros((3, 16, 20), np.uint8), 0.0, False, False, {}


class Unbounded(gymnasium.Env):
    """Actions have no bounds."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)


for _class in (Toy, Counter, Picture, ChannelsFirst, Unbounded):
    gymnasium.register(
        f"{_class.__name__}-v0", f"{__name__}:{_class.__name__}", max_episode_steps=1_000
    )


ONES = np.ones(2, np.float32)
for _name, _wrapper in (
    ("Flat-v0", gymnasium.wrappers.FlattenObservation.wrapper_spec()),
    ("Unit-v0", gymnasium.wrappers.RescaleAction.wrapper_spec(min_action=-ONES, max_action=ONES)),
):
    gymnasium.register(
        _name, f"{__name__}:Toy", kwargs={"high": 3.0}, additional_wrappers=(_wrapper,)
    )


class Endless(Toy):
    """Declares no time limit, and never ends."""

    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, False, truncated, info


def limited():
    """One that never ends, cut after 5 steps by a limit that nobody outside can move."""
    return gymnasium.wrappers.TimeLimit(Endless(), 5)


def make(length=3, high=1.0):
    """The toy with half its reward, which no spec could say."""
    env = gymnasium.wrappers.TransformReward(Toy(length=length, high=high), lambda r: r / 2)
    return gymnasium.wrappers.TimeLimit(env, 50)


ONE = Toy(length=3)


def make_the_same():
    return ONE


gymnasium.register("Endless-v0", f"{__name__}:Endless")
