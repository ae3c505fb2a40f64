"""Environments that are stepped while networks learn: where each is, and how to get it back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from floq.acting import Plans
from floq.data.experience import Experience
from floq.data.memory import clip_actions
from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Steps
from floq.envs.vector import VectorEnvironment
from floq.observations import Frames
from floq.workers import available_cores


class Outcome(NamedTuple):
    """What one step of every environment came to.

    Attributes:
        actions: What was done, float32 [rows, act].
        steps: What the environments gave for it.
        episode_seeds: Seed of the episode in which each is now, uint32 [rows].
        first_observations: What a new episode shows, where one began, float32 [rows, obs].
    """

    actions: np.ndarray
    steps: Steps
    episode_seeds: np.ndarray
    first_observations: np.ndarray

    @property
    def experience(self) -> Experience:
        """The same as buffers take it in."""
        steps = self.steps
        return Experience(
            self.actions,
            steps.rewards.astype(np.float32),
            steps.terminated,
            steps.truncated,
            steps.observations,
            self.first_observations,
        )


class Collector:
    """The environments of all seeds, and the episodes that go on in them.

    Rows are ordered by seed, then by environment. Environments cannot be saved, but they are
    deterministic: an episode is kept as the seed of its reset and the actions since, and brought
    back by doing the same again.

    Attributes:
        time: Steps that every environment has made.
        frames: What each shows now, and showed before.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        seeds: Sequence[int],
        *,
        environments: int,
        frames: int = 1,
        processes: int | None,
    ):
        """Starts the processes.

        Args:
            spec: The environment.
            seeds: The run's seeds.
            environments: Environments of each seed.
            frames: Observations that the policy reads at once.
            processes: Processes that step them; by default one for each core.

        Raises:
            floq.envs.vector.WorkerError: If an environment cannot be built.
        """
        rows = len(seeds) * environments
        if processes is None:
            processes = available_cores()
        self._vector = VectorEnvironment(spec, count=rows, processes=min(processes, rows))
        self._slots = np.arange(rows)
        self._owners = [(seed, env) for seed in seeds for env in range(environments)]
        self.time = 0
        sizes = self._vector.sizes
        self.frames = Frames(rows, sizes.observation_dim, count=frames, dtype=sizes.dtype)
        self._plans = Plans(rows, sizes.action_dim)
        self._episode_seeds = np.zeros(rows, np.uint32)
        # Of each row's episode: its actions, the sum of its rewards, and its success.
        self._actions: list[list[np.ndarray]] = [[] for _ in range(rows)]
        self._returns = np.zeros(rows)
        self._successes = np.full(rows, np.nan)
        self._finished: list[dict[str, Any]] = []

    def close(self) -> None:
        """Ends the processes."""
        self._vector.close()

    @property
    def action_dim(self) -> int:
        """Entries of an environment's action."""
        return self._vector.sizes.action_dim

    @property
    def observations(self) -> np.ndarray:
        """What each shows now, float32 [rows, obs] or bytes."""
        return self.frames.newest

    def begin(self) -> None:
        """Starts an episode everywhere."""
        self._episode_seeds = self._fresh_seeds(self._slots, 0)
        self.frames.begin(self._slots, self._vector.reset(self._slots, self._episode_seeds))

    def plan(self, ask: Callable[[], np.ndarray]) -> np.ndarray:
        """The next action of every row, float32 [rows, act], as data holds it.

        Args:
            ask: Gives every row's plan, [rows, plan]; asked where the former one is used up.
        """
        times = np.array([len(actions) for actions in self._actions])
        return clip_actions(self._plans.actions(self._slots, times, ask))

    def execute(self, actions: np.ndarray) -> "Outcome":
        """Does the actions, and resets where episodes end; `take` then makes it count.

        Raises:
            floq.envs.vector.WorkerError: If an environment fails.
        """
        steps = self._vector.step(self._slots, actions)
        ended = np.flatnonzero(steps.terminated | steps.truncated)
        seeds = self._episode_seeds.copy()
        first = np.zeros_like(steps.observations)
        if ended.size:
            seeds[ended] = self._fresh_seeds(ended, self.time + 1)
            first[ended] = self._vector.reset(ended, seeds[ended])
        return Outcome(actions, steps, seeds, first)

    def take(self, outcome: "Outcome") -> None:
        """Moves on to where the environments are after `execute`."""
        self.time += 1
        self._count(self._slots, outcome.actions, outcome.steps)
        ended = outcome.steps.terminated | outcome.steps.truncated
        self.frames.push(self._slots, outcome.steps.observations)
        self.frames.begin(np.flatnonzero(ended), outcome.first_observations[ended])
        for row in np.flatnonzero(ended).tolist():
            self._finished.append(self._row_of_episode(row))
            self._forget_episode(row)
        self._episode_seeds = outcome.episode_seeds

    def take_episodes(self) -> list[dict[str, Any]]:
        """A row for each episode that has ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def snapshot(self) -> dict[str, np.ndarray]:
        """All that `restore` needs."""
        actions = [action for episode in self._actions for action in episode]
        return {
            "time": np.array(self.time),
            "observations": self.observations.copy(),
            "ahead": self._plans.ahead,
            "episode_seeds": self._episode_seeds,
            "episode_lengths": np.array([len(episode) for episode in self._actions]),
            "episode_actions": np.array(actions, np.float32).reshape(-1, self.action_dim),
        }

    def restore(
        self, saved: Mapping[str, np.ndarray], *, should_stop: Callable[[], bool]
    ) -> np.ndarray | None:
        """Brings the environments back to where they were, by repeating their episodes.

        Args:
            saved: What `snapshot` gave.
            should_stop: Asked before every step.

        Returns:
            The rows that came to show something else than they did: these have begun a new episode.
            None if it was given up because it should stop.
        """
        self.time = int(saved["time"])
        self._plans.ahead = saved["ahead"]
        self._episode_seeds = saved["episode_seeds"].copy()
        lengths = saved["episode_lengths"]
        parts = np.split(saved["episode_actions"], np.cumsum(lengths)[:-1])
        self.frames.begin(self._slots, self._vector.reset(self._slots, self._episode_seeds))
        ended = np.zeros(len(lengths), np.bool_)
        for time in range(int(lengths.max(initial=0))):
            if should_stop():
                return None
            going_on = np.flatnonzero((lengths > time) & ~ended)
            if going_on.size == 0:
                break
            actions = np.stack([parts[row][time] for row in going_on])
            steps = self._vector.step(going_on, actions)
            self._count(going_on, actions, steps)
            self.frames.push(going_on, steps.observations)
            ended[going_on] = steps.terminated | steps.truncated
        different = (self.observations != saved["observations"]).any(axis=1) | ended
        lost = np.flatnonzero(different)
        if lost.size:
            self._episode_seeds[lost] = self._fresh_seeds(lost, self.time, again=1)
            self.frames.begin(lost, self._vector.reset(lost, self._episode_seeds[lost]))
            for row in lost.tolist():
                self._forget_episode(row)
        return lost

    def owner(self, row: int) -> tuple[int, int]:
        """The seed of a row, and the number of its environment."""
        return self._owners[row]

    def _count(self, rows: np.ndarray, actions: np.ndarray, steps: Steps) -> None:
        for row, action in zip(rows.tolist(), actions, strict=True):
            self._actions[row].append(action)
        self._returns[rows] += steps.rewards
        self._successes[rows] = np.fmax(self._successes[rows], steps.successes)

    def _forget_episode(self, row: int) -> None:
        self._actions[row], self._returns[row], self._successes[row] = [], 0.0, np.nan

    def _row_of_episode(self, row: int) -> dict[str, Any]:
        seed, env = self._owners[row]
        told = not np.isnan(self._successes[row])
        return {
            "time": self.time,
            "seed": seed,
            "environment": env,
            "return": float(self._returns[row]),
            "length": len(self._actions[row]),
            **({"success": float(self._successes[row])} if told else {}),
        }

    def _fresh_seeds(self, rows: np.ndarray, time: int, *, again: int = 0) -> np.ndarray:
        """Seeds of the episodes that begin in these rows after `time` steps, uint32 [rows].

        Args:
            rows: The rows.
            time: Steps before the reset.
            again: 1 where an episode begins at a time at which one began, or went on, before.
        """
        # The last number tells these apart from the seeds of evaluations' episodes.
        entropy = [[*self._owners[row], time, again, 1] for row in rows.tolist()]
        states = [np.random.SeedSequence(numbers).generate_state(1)[0] for numbers in entropy]
        return np.array(states, np.uint32)
