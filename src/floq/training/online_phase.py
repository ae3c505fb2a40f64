"""Training in the environment: environments are stepped while networks are updated.

In one tick every environment makes a step, by actions that the networks chose before it, and
meanwhile the updates are made that are due by the steps *before* it. So a tick takes as long as the
slower of both, and what is computed does not depend on which one that is.
"""

import itertools
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from floq.algorithms.common import data_chunk, frames_of
from floq.data.dataset import Dataset
from floq.data.experience import Rows
from floq.data.replay import ReplayBuffer
from floq.runs.checkpoint import Checkpoint, rows_folder
from floq.runs.directory import EPISODES, EVENTS, RunConfig, RunDirectory
from floq.runs.row_log import RowLog
from floq.streams import complain
from floq.training.checks import buffer_size, chunk_setting, lookahead
from floq.training.collector import Collector, Outcome
from floq.training.learner import Learner
from floq.training.offline_phase import DISPATCH_SECONDS, Snapshot, Window
from floq.training.preparation import TOLERANCE
from floq.training.seed_groups import SeedGroups

_HOPELESS_EPISODES = 100
"""Episodes of a seed after which, if none was long enough for a decision, none will be."""


class NothingToLearn(RuntimeError):  # noqa: N818 - what happened, not an error of the program
    """Environments were stepped, and no update can come of it; everything before is saved."""


class OnlinePhase:
    """Steps in the environment, and updates; a step is one of one environment of each seed.

    It has the attributes and the methods of `OfflinePhase`, which the loop drives alike.
    Use it as a context manager, which ends the environments' processes.
    """

    def __init__(
        self,
        files: RunDirectory,
        config: RunConfig,
        dataset: Dataset | None,
        state: Any,
        *,
        checkpoint: Checkpoint | None,
        processes: int | None,
        should_stop: Callable[[], bool],
    ):
        """Starts the environments, and brings them back to where a checkpoint had them.

        Args:
            files: The run's directory.
            config: The run's; it has online settings and an environment.
            dataset: Offline data, one transition for each decision, if batches draw from it.
            state: The algorithm's state, stacked over seeds.
            checkpoint: Where to go on in this phase; None begins it.
            processes: Processes that step the environments; by default one for each core.
            should_stop: Asked while the environments are brought back.

        Raises:
            floq.envs.vector.WorkerError: If an environment fails.
            ValueError: If the checkpoint is of another algorithm, or settings do not go together.
        """
        assert config.online is not None
        assert config.environment is not None
        self._config, self._online = config, config.online
        self.first, self.last = config.steps, config.total_steps
        self.stride = self._online.environments
        self.rate = 0.0
        self._collector = Collector(
            config.environment,
            config.seeds,
            environments=self.stride,
            frames=frames_of(config.config),
            processes=processes,
        )
        try:
            self._log = RowLog(
                rows_folder(files.checkpoints),
                len(config.seeds) * self.stride,
                self._collector.action_dim,
                kept=self._online.rows_per_environment,
            )
            self._events: list[dict[str, Any]] = []
            self._actions: np.ndarray | None = None
            self._outcome: Outcome | None = None
            self._updates, self._window_first, self._reported = 0, 0, False
            buffers = (
                self._begin() if checkpoint is None else self._restore(checkpoint, should_stop)
            )
            online = self._online
            self._groups = SeedGroups(
                Learner.of(config.rule, config.config),
                config.seeds,
                state,
                dataset,
                buffers=buffers,
                online_share=online.online_share if online.buffer == "balanced" else None,
                checkpoint=checkpoint,
            )
        except BaseException:
            self._collector.close()
            raise
        # Updates in one dispatch: 1 until it is known how long they take.
        self._dispatch, self._timed = 1, False
        self._has_data = False
        self._window_updates, self._window_seconds = 0, 0.0

    def __enter__(self) -> "OnlinePhase":
        """The phase itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the environments' processes."""
        self._collector.close()
        self._groups.close()

    @property
    def step(self) -> int:
        """Steps of the run that are done: the offline updates, and the environment steps."""
        return self.first + self._steps

    @property
    def _steps(self) -> int:
        return self._collector.time * self.stride

    def advance(self, limit: int, should_stop: Callable[[], bool]) -> None:
        """Ticks for about a second, or up to a step, or until it should stop, maybe in a tick.

        Raises:
            floq.envs.vector.WorkerError: If an environment fails.
            NothingToLearn: If episodes are too short for any update.
        """
        started, before, updates = time.perf_counter(), self._steps, self._updates
        while self.step < limit and not should_stop():
            if not self._tick(should_stop):
                break
            if time.perf_counter() - started > DISPATCH_SECONDS:
                break
        self._groups.block()
        seconds = time.perf_counter() - started
        self.rate = (self._steps - before) / seconds
        self._window_updates += self._updates - updates
        self._window_seconds += seconds

    def _tick(self, should_stop: Callable[[], bool]) -> bool:
        """One step of every environment, and the updates that are due; whether it was finished."""
        if self._actions is None:
            self._actions = self._collector.plan(self._plan)
        target = self._updates_due()
        while True:
            started, first = time.perf_counter(), self._updates
            self._updates = min(first + self._dispatch, target)
            self._groups.advance(first, self._updates)
            if self._outcome is None:
                self._outcome = self._collector.execute(self._actions)
            if self._updates == target:
                break
            self._groups.block()
            self._measure(self._updates - first, time.perf_counter() - started)
            if should_stop():
                return False
        self._log.append(self._collector.observations.copy(), self._outcome.experience)
        self._groups.add(self._outcome.experience)
        self._collector.take(self._outcome)
        self._actions, self._outcome = None, None
        return True

    def check_learned(self) -> None:
        """Refuses to end without a single update.

        Raises:
            NothingToLearn: If there was none.
        """
        if self._updates:
            return
        self._check_episodes(self._groups.counts()["listed"], least=1)
        raise NothingToLearn(
            f"No update was made in {self._steps} environment steps of each seed "
            f"(warmup={self._online.warmup}, updates_per_step={self._online.updates_per_step}): "
            f"the {lookahead(self._config.config)} steps that a decision looks ahead were there "
            "too late. Give more steps."
        )

    def _check_episodes(self, listed: np.ndarray, *, least: int) -> None:
        """Refuses episodes none of which has held the steps of a decision.

        Args:
            listed: Transitions of each environment so far, [seeds, envs].
            least: Episodes of a seed that must have ended before it is judged.

        Raises:
            NothingToLearn: If a seed has so many, and nothing to learn from.
        """
        config = self._config.config
        # Where an episode ends, a row is added beside those of the steps.
        ended = self._log.counts - self._collector.time
        for seed, part, found in zip(self._config.seeds, self._parts(), listed, strict=True):
            episodes = int(ended[part].sum())
            if found.any() or episodes < least:
                continue
            raise NothingToLearn(
                f"None of {episodes} episodes of seed {seed} had the {lookahead(config)} steps "
                f"that a decision looks ahead ({chunk_setting(config)}, "
                f"n_step={config.n_step}): they are too short for any update. Give a shorter "
                "action chunk or fewer steps, or an environment with longer episodes. Everything "
                f"up to step {self.step} is saved."
            )

    def _plan(self) -> np.ndarray:
        # Without an update before there is no policy that is worth its noise.
        at_random = self._config.steps == 0 and self._steps < self._online.warmup
        return self._groups.act(
            self._collector.frames.stacked, self._collector.time, at_random=at_random
        )

    def _updates_due(self) -> int:
        """Updates in all that are due before the next step is in the buffer."""
        if not self._has_data:
            listed = self._groups.counts()["listed"]
            self._has_data = bool(listed.any(axis=1).all())
            # The policy that acts after the warm-up may last longer than random actions do.
            if self._steps >= 2 * self._online.warmup:
                self._check_episodes(listed, least=_HOPELESS_EPISODES)
        return self._online.updates_before(self._steps) if self._has_data else self._updates

    def _measure(self, updates: int, seconds: float) -> None:
        if self._timed:
            self._dispatch = max(1, int(updates / seconds * DISPATCH_SECONDS))
        self._timed = True

    def state(self) -> Any:
        """The algorithm's state, stacked over seeds."""
        return self._groups.state

    def window(self) -> Window:
        """What was measured since the last log; its rate counts all the time of the phase."""
        sums = self._groups.metric_sums()
        rate = self._window_updates / max(self._window_seconds, 1e-9)
        return Window(sums, self._window_first, self._updates, rate)

    def start_window(self) -> None:
        """Measures anew, after a look at the rewards so far."""
        self._groups.start_window()
        self._window_first = self._updates
        self._window_updates, self._window_seconds = 0, 0.0
        self._check_rewards()

    def take_rows(self) -> Mapping[str, list[dict[str, Any]]]:
        """Episodes that have ended, and what else is worth a row."""
        episodes = [
            {"step": self.first + row.pop("time") * self.stride, **row}
            for row in self._collector.take_episodes()
        ]
        events, self._events = self._events, []
        return {name: rows for name, rows in ((EPISODES, episodes), (EVENTS, events)) if rows}

    def snapshot(self) -> Snapshot:
        """Counters, sums, where the environments are, and the rows of the buffers."""
        sums = self._groups.metric_sums()
        details = {
            "metric_sums": {name: values.tolist() for name, values in sums.items()},
            "online": {
                "updates": self._updates,
                "window_first": self._window_first,
                "reported": self._reported,
            },
        }
        waiting = np.zeros((0, self._collector.action_dim), np.float32)
        extra = {
            **self._collector.snapshot(),
            **self._groups.counts(),
            "actions": waiting if self._actions is None else self._actions,
        }
        return Snapshot(details, extra, self._log.write())

    def _check_rewards(self) -> None:
        """Reports, once, a reward outside of the range that the networks were built for."""
        low, high = self._config.statistics.reward_min, self._config.statistics.reward_max
        slack = TOLERANCE * max(abs(low), abs(high), 1.0)
        counts = self._groups.counts()
        for index, seed in enumerate(self._config.seeds):
            least, most = counts["lowest"][index].min(), counts["highest"][index].max()
            outside = least if least < low - slack else most if most > high + slack else None
            if self._reported or outside is None or not np.isfinite(outside):
                continue
            self._reported = True
            message = (
                f"a decision of seed {seed} earned {outside:.6g}, outside of the reward range "
                f"[{low:.6g}, {high:.6g}] that noise interval and histogram were built for. "
                "Nothing is clipped, but values beyond them are learned less well: train anew "
                "with --reward-range around all rewards of a single step."
            )
            self._note("reward_outside_range", seed, message, reward=float(outside))

    def _note(self, event: str, seed: int, message: str, **facts: Any) -> None:
        warnings.warn(f"Step {self.step}: {message}", RuntimeWarning, stacklevel=2)
        self._events.append(
            {"step": self.step, "seed": seed, "event": event, **facts, "message": message}
        )

    def _begin(self) -> list[ReplayBuffer]:
        """Episodes, and an empty buffer for each seed."""
        self._collector.begin()
        if words := buffer_size(self._config, self._collector.action_dim):
            complain(words)
        return [
            ReplayBuffer.create(
                self._collector.observations[part],
                self._collector.action_dim,
                rows=self._online.rows_per_environment,
                action_chunk=data_chunk(self._config.config),
                n_step=self._config.config.n_step,
                discount=self._config.config.discount,
                form=self._config.statistics.observations,
            )
            for part in self._parts()
        ]

    def _parts(self) -> list[slice]:
        """The rows of each seed."""
        edges = [index * self.stride for index in range(len(self._config.seeds) + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def _restore(
        self, checkpoint: Checkpoint, should_stop: Callable[[], bool]
    ) -> list[ReplayBuffer]:
        """Environments and buffers as the checkpoint had them."""
        saved, counters = checkpoint.extra, checkpoint.details["online"]
        self._updates = counters["updates"]
        self._window_first, self._reported = counters["window_first"], counters["reported"]
        if len(saved["actions"]):
            self._actions = saved["actions"]
        histories = self._log.restore(checkpoint.shards, checkpoint.rows)
        nothing = Rows.empty(saved["observations"], self._collector.action_dim)
        histories = histories or [nothing] * len(saved["observations"])
        lost = self._collector.restore(saved, should_stop=should_stop)
        if lost is not None and lost.size:
            last = saved["observations"][lost]
            self._log.cut(lost, last)
            for row, observation in zip(lost.tolist(), last, strict=True):
                histories[row] = histories[row].with_last(observation)
                self._report_lost(row)
        config, observations = self._config.config, self._collector.observations
        return [
            ReplayBuffer.restore(
                histories[part],
                observations[part],
                heads=self._log.counts[part].astype(np.int32),
                **{name: saved[name][index] for name in ("listed", "lowest", "highest")},
                rows=self._online.rows_per_environment,
                chunk=data_chunk(config),
                lookahead=lookahead(config),
                discount=config.discount,
                form=self._config.statistics.observations,
            )
            for index, part in enumerate(self._parts())
        ]

    def _report_lost(self, row: int) -> None:
        seed, environment = self._collector.owner(row)
        message = (
            f"environment {environment} of seed {seed} does not come back to where it was when its "
            "actions are repeated: a new episode begins in it, so that the run need not end as an "
            "uncut one."
        )
        self._note("episode_restarted", seed, message, environment=environment)
