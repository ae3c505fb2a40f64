"""Evaluation: how well a policy does, over episodes that anybody can repeat.

Episode e of an evaluation with seed s is the same on every machine of one kind, whatever the
number of environment slots and worker processes:

- its environment starts from a seed made of (s, e), and has random states of its own;
- its action at step t is drawn with the key `fold_in(fold_in(key(s), e), t)`;
- the policy always acts on `floq.acting.BATCH` rows at once, or on as many as its `rows` says,
  because a matrix product rounds differently in another shape. In one, a row's result does not
  depend on its place or neighbours.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from floq.acting import BATCH, Moment, Rollouts, check_goals, episode_goals
from floq.envs.make import MAX_EPISODE_STEPS, Environment, EnvironmentSpec, spec_of
from floq.envs.vector import VectorEnvironment, WorkerError
from floq.intervals import mean_interval, wilson_interval
from floq.progress import ProgressDisplay
from floq.settings import takes_settings
from floq.types import Policy
from floq.workers import available_cores

_SLOTS = 25  # Manipulation scenes take a second and 200 MB each to build.


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy did in some episodes.

    Attributes:
        returns: Undiscounted sum of each episode's rewards, [episodes].
        lengths: Steps of each episode, [episodes].
        successes: 1 where the environment reported success at any step and 0 elsewhere,
            [episodes]; None where the environment reports no success.
        goals: The goal of each episode from 1, [episodes]; None where there is none to choose.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray | None
    goals: np.ndarray | None = None

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def success_rate(self) -> float | None:
        """Share of successful episodes, in [0, 1]."""
        return None if self.successes is None else float(self.successes.mean())

    @property
    def goal_success_rates(self) -> list[float]:
        """Share of successful episodes for each goal, in [0, 1]; empty without goals."""
        if self.goals is None or self.successes is None:
            return []
        numbers = np.unique(self.goals)
        return [float(self.successes[self.goals == number].mean()) for number in numbers]

    @property
    def mean_return(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())

    @property
    def mean_length(self) -> float:
        """Mean number of steps."""
        return float(self.lengths.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the success rate, or of the mean return without successes.

        Wilson's interval for the former, Student's t for the latter (unbounded for one episode).
        """
        if self.success_rate is not None:
            return wilson_interval(self.success_rate, self.episodes)
        return mean_interval(self.returns)[1:]

    def summary(self) -> dict[str, Any]:
        """The figures as a flat, JSON-able dictionary; what is unknown is left out."""
        figures: dict[str, Any] = {
            "episodes": self.episodes,
            "return": self.mean_return,
            "length": self.mean_length,
        }
        name = "return" if self.success_rate is None else "success"
        if self.success_rate is not None:
            figures["success"] = self.success_rate
        low, high = self.interval
        if math.isfinite(low):
            figures |= {f"{name}_low": low, f"{name}_high": high}
        rates = enumerate(self.goal_success_rates, start=1)
        return figures | {f"success_goal{number}": rate for number, rate in rates}

    def __str__(self) -> str:
        """One line, for instance `success 0.84 [0.71, 0.92] over 50 episodes, return -83.1, …`."""
        low, high = self.interval
        if self.success_rate is None:
            spread = f" [{low:.1f}, {high:.1f}]" if math.isfinite(low) else ""
            head, tail = f"return {self.mean_return:.1f}{spread}", ""
        else:
            head = f"success {self.success_rate:.2f} [{low:.2f}, {high:.2f}]"
            tail = f", return {self.mean_return:.1f}"
            if rates := self.goal_success_rates:
                tail = f", by goal {' '.join(f'{rate:.2f}' for rate in rates)}{tail}"
        many = "episode" if self.episodes == 1 else "episodes"
        return f"{head} over {self.episodes} {many}{tail}, length {self.mean_length:.0f}"


class Evaluator:
    """Evaluates policies in one environment, and keeps its workers between evaluations.

    Use it as a context manager, or call `close`. The workers start with the first evaluation, and
    again with the next one after a `floq.envs.vector.WorkerError`.
    """

    @takes_settings("slots", "processes")
    def __init__(
        self,
        env: Environment,
        *,
        slots: int | None = None,
        processes: int | None = None,
    ):
        """Choose the environment and how it is spread out.

        Args:
            env: A task's name, a spec, or an environment (which is built anew).
            slots: Environments kept at once, at most `BATCH`. By default 25, or as many as there
                are episodes: enough to share the calls of a policy, and few enough for OGBench's
                manipulation scenes, of which each takes about 200 MB and a second to build.
            processes: Worker processes. By default one a core, but not more than there are slots;
                0 steps in this process.

        Raises:
            ValueError: If the environment is unknown or cannot be rebuilt, or there are too many
                or too few slots.
        """
        if slots is not None and not 1 <= slots <= BATCH:
            raise ValueError(f"{slots} slots: an evaluator has between 1 and {BATCH} of them.")
        if processes is not None and processes < 0:
            raise ValueError(f"{processes} processes: there must be none, or more.")
        self.spec = spec_of(env)
        self._slots = slots
        self._processes = processes
        self._environments: VectorEnvironment | None = None

    @takes_settings("episodes", "seed")
    def evaluate(
        self,
        policy: Policy,
        *,
        episodes: int = 50,
        seed: int = 0,
        should_stop: Callable[[], bool] | None = None,
        on_episode: Callable[[int], None] | None = None,
        on_step: Callable[[Moment], None] | None = None,
        display: ProgressDisplay | None = None,
    ) -> Evaluation | None:
        """Play episodes by a policy.

        Args:
            policy: Maps observations [BATCH, obs] and a key a row to actions [BATCH, act], which
                are clipped to [-1, 1]. Rows without an episode hold leftovers.
            episodes: How many.
            seed: Together with an episode's number it fixes all that is random in it.
            should_stop: Asked before every step; once true, the evaluation is given up.
            on_episode: Called with the number of finished episodes whenever one is finished.
            on_step: Called after every step, to keep what it wants of it.
            display: Is told now and then how many episodes are finished, and how long they are.

        Returns:
            What happened, or None if `should_stop` turned true.

        Raises:
            ValueError: If the policy returns the wrong shape or something that is not finite.
            floq.envs.vector.WorkerError: If an environment fails.
        """
        if episodes < 1:
            raise ValueError(f"{episodes} episodes: there must be at least one.")
        environments, finished = self._started(episodes), 0
        numbers, goal_count = np.arange(episodes), environments.sizes.goal_count
        check_goals(episodes, goal_count)
        try:
            rollouts = Rollouts(policy, environments, environments.count, numbers, seed)
            while rollouts.active.size:
                if should_stop is not None and should_stop():
                    return None
                if display is not None:
                    display.busy(
                        f"evaluation: {finished:,} of {episodes:,} episodes are finished, the "
                        f"others at step {rollouts.longest:,}"
                    )
                moment = rollouts.step()
                if on_step is not None:
                    on_step(moment)
                if rollouts.finished > finished:
                    finished = rollouts.finished
                    if on_episode is not None:
                        on_episode(finished)
        except WorkerError as error:
            raise WorkerError(
                f"The evaluation ended after {finished} of {episodes} episodes, none of which "
                f"counts: {error}"
            ) from error
        told = not np.isnan(rollouts.successes).all()
        successes = np.nan_to_num(rollouts.successes) if told else None
        goals = episode_goals(numbers, goal_count) if goal_count else None
        return Evaluation(rollouts.returns, rollouts.lengths, successes, goals)

    def close(self) -> None:
        """End the workers. Does nothing the second time."""
        if self._environments is not None:
            self._environments.close()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self, episodes: int) -> VectorEnvironment:
        slots = self._slots or min(episodes, _SLOTS)
        current = self._environments
        if current is None or current.closed or current.count < slots:
            self.close()
            processes = min(
                available_cores() if self._processes is None else self._processes, slots
            )
            current = VectorEnvironment(self.spec, count=slots, processes=processes)
            self._environments = current
        return current


@takes_settings("episodes", "seed", "processes")
def evaluate(
    policy: Policy,
    env: Environment,
    *,
    episodes: int = 50,
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Play episodes by a policy, once; see `Evaluator.evaluate`.

    How far it is, is shown by a bar where there is a terminal, unless `progress` is false, and by
    a line every few seconds elsewhere. Ctrl-C ends it, and its environments.

    Example:
        >>> from floq.envs import make_env
        >>> def still(observations, keys):
        ...     return np.zeros((len(observations), 1))
        >>> print(evaluate(still, make_env("MountainCarContinuous-v0"), episodes=2, processes=0))
        return 0.0 [0.0, 0.0] over 2 episodes, length 999
    """
    with Evaluator(env, processes=processes) as evaluator:
        return shown(evaluator, policy, episodes=episodes, seed=seed, progress=progress)


def shown(
    evaluator: Evaluator,
    policy: Policy,
    *,
    episodes: int,
    seed: int,
    progress: bool = True,
    on_step: Callable[[Moment], None] | None = None,
) -> Evaluation:
    """Play episodes by a policy, and show how far they are; see `evaluate`."""
    with ProgressDisplay(episodes, bar=progress, unit="episodes") as display:
        result = evaluator.evaluate(
            policy,
            episodes=episodes,
            seed=seed,
            on_episode=display.reach,
            on_step=on_step,
            display=display,
        )
    assert result is not None
    cut = int((result.lengths == MAX_EPISODE_STEPS).sum())
    if cut and not _has_limit(evaluator.spec):
        warnings.warn(
            f"{cut:,} of {episodes:,} episodes of {evaluator.spec.id!r} were ended after "
            f"{MAX_EPISODE_STEPS:,} steps, as all are in environments without a time limit. Give "
            "another one by max_episode_steps=, to floq.make_env or at the registration.",
            UserWarning,
            stacklevel=3,
        )
    return result


def _has_limit(spec: EnvironmentSpec) -> bool:
    """Whether an environment was given a time limit, or its registration says one."""
    registered = gymnasium.registry.get(str(spec.id).rpartition(":")[2])
    own = None if registered is None else registered.max_episode_steps
    return own is not None or "max_episode_steps" in spec.kwargs
