"""Environment slots: several copies of one environment, each with random states of its own."""

import math
from typing import NamedTuple

import numpy as np

from floq.envs.make import EnvironmentSpec


class Steps(NamedTuple):
    """What one step of several environments gave, one row per environment.

    Attributes:
        observations: What each environment shows after the step, float32 [batch, obs].
        rewards: Its reward, float64 [batch].
        terminated: Whether the episode reached a true end, bool [batch].
        truncated: Whether a time limit cut it, bool [batch].
        successes: `info["success"]`, NaN where the environment does not tell, float64 [batch].
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    successes: np.ndarray


class Slots:
    """Environments that live in this process, addressed by number.

    Some environments draw from numpy's global generator besides their own (OGBench's mazes draw
    start states from it). That generator is therefore part of an environment's state here: each
    slot has one, in place whenever the slot's environment runs, so that what an episode sees
    depends on its seed only, not on its neighbours, and the caller's generator is left alone.
    Swapping the generators takes about a microsecond.

    Attributes:
        environments: The environment of each slot.
        observation_dim: Entries of an observation.
        action_dim: Entries of an action.
    """

    def __init__(self, spec: EnvironmentSpec, count: int, *, render_mode: str | None = None):
        """Build the environments.

        Args:
            spec: What to build in each slot.
            count: Number of slots, at least 1.
            render_mode: gymnasium's, for all of them.
        """
        self.environments = [spec.make(render_mode=render_mode) for _ in range(count)]
        self._generators = [np.random.MT19937(0) for _ in range(count)]
        spaces = self.environments[0].observation_space, self.environments[0].action_space
        self.observation_dim, self.action_dim = (math.prod(space.shape or ()) for space in spaces)

    def reset(self, slots: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Start an episode in each of the given slots.

        Args:
            slots: Numbers of the slots, [batch].
            seeds: A seed below 2³² for each, [batch].

        Returns:
            The first observations, float32 [batch, obs].
        """
        observations = np.empty((len(slots), self.observation_dim), np.float32)
        for row, (slot, seed) in enumerate(zip(slots.tolist(), seeds.tolist(), strict=True)):
            env = self.environments[slot]
            with _GlobalGenerator(self._generators[slot]):
                np.random.seed(seed)  # noqa: NPY002  (the generator that environments share)
                # OGBench's mazes sample random actions while they reset.
                env.unwrapped.action_space.seed(seed)
                observation, _ = env.reset(seed=seed)
            observations[row] = self._checked(observation, slot, "reset")
        return observations

    def step(self, slots: np.ndarray, actions: np.ndarray) -> Steps:
        """Step each of the given slots by its action, float32 [batch, act]."""
        batch = len(slots)
        steps = Steps(
            np.empty((batch, self.observation_dim), np.float32),
            np.empty(batch, np.float64),
            np.empty(batch, np.bool_),
            np.empty(batch, np.bool_),
            np.empty(batch, np.float64),
        )
        for row, slot in enumerate(slots.tolist()):
            with _GlobalGenerator(self._generators[slot]):
                observation, reward, *ended, info = self.environments[slot].step(actions[row])
            steps.observations[row] = self._checked(observation, slot, "step")
            steps.rewards[row] = reward
            steps.terminated[row], steps.truncated[row] = ended
            steps.successes[row] = info.get("success", np.nan)
            if not np.isfinite(steps.rewards[row]):
                raise ValueError(f"the environment in slot {slot} gave the reward {reward}")
        return steps

    def close(self) -> None:
        """Close the environments."""
        for env in self.environments:
            env.close()

    def _checked(self, observation: np.ndarray, slot: int, call: str) -> np.ndarray:
        if np.shape(observation) != (self.observation_dim,):
            raise ValueError(
                f"{call} of the environment in slot {slot} gave an observation of shape "
                f"{np.shape(observation)}, its space says ({self.observation_dim},)"
            )
        if not np.isfinite(observation).all():
            raise ValueError(
                f"{call} of the environment in slot {slot} gave an observation that is not "
                f"finite: {observation}"
            )
        return observation


class _GlobalGenerator:
    """Puts a bit generator in the place of numpy's global one for the length of a `with`."""

    def __init__(self, generator: np.random.MT19937):
        self._generator = generator

    def __enter__(self) -> None:
        self._before = np.random.get_bit_generator()  # pyright: ignore
        np.random.set_bit_generator(self._generator)  # pyright: ignore

    def __exit__(self, *_: object) -> None:
        np.random.set_bit_generator(self._before)  # pyright: ignore  (numpy's stubs lack them)
