"""The first part of a run: updates on its data."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from floq.data.goal_dataset import GoalDataset
from floq.data.streamed import Data, StreamedDataset
from floq.runs.checkpoint import Checkpoint
from floq.runs.directory import RunConfig
from floq.runs.shards import Shard
from floq.runs.states import initial_states
from floq.training.hosts import from_all
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups
from floq.training.streaming import PartReader

DISPATCH_SECONDS = 1.0
"""Aim for one call of a program: long enough to cost nothing, short enough to stop soon."""


class Window(NamedTuple):
    """What was measured since the last log.

    Attributes:
        sums: The sum of each metric, [seeds].
        first: Updates before those that they sum over.
        last: Updates with these.
        rate: Updates a second.
    """

    sums: Mapping[str, np.ndarray]
    first: int
    last: int
    rate: float

    @property
    def updates(self) -> int:
        """The updates that the sums sum over."""
        return self.last - self.first


class Snapshot(NamedTuple):
    """What a phase needs, beside the algorithm's state, to go on from a step.

    Attributes:
        details: What JSON can hold.
        extra: Arrays.
        shards: Rows that are written already.
    """

    details: dict[str, Any]
    extra: dict[str, np.ndarray]
    shards: Sequence[Shard]


class OfflinePhase:
    """Updates on a dataset; a step is an update.

    Attributes:
        step: Steps of the run that are done.
        first: The step at which the phase begins.
        last: The step at which it ends.
        stride: Steps that are made at once, so that only every so many can be seen.
        rate: Steps a second, lately; 0 if not known yet.
    """

    def __init__(
        self, config: RunConfig, dataset: Data | GoalDataset, checkpoint: Checkpoint | None
    ):
        """Prepares to go on from a checkpoint, or to start.

        Args:
            config: The run's.
            dataset: Its data, one transition for each decision.
            checkpoint: Where to go on; None starts.

        Raises:
            ValueError: If the checkpoint's metrics are not those of this algorithm, or several
                devices cannot share seeds and batches evenly.
        """
        self._interval = config.schedule.log_interval
        self.step = 0 if checkpoint is None else checkpoint.step
        self._reader, self._part = None, 0
        if isinstance(dataset, StreamedDataset):
            assert config.parts is not None
            self._reader = PartReader(
                dataset, config.parts, seed=config.seeds[0], steps=config.steps
            )
            self._part = self._reader.number(min(self.step, config.steps - 1))
        source = self._reader.take(self._part) if self._reader else dataset
        assert not isinstance(source, StreamedDataset)
        if checkpoint is None:
            state = initial_states(config.rule, config.config, config.statistics, config.seeds)
        else:
            state = checkpoint.state
        self._groups = SeedGroups(
            Learner.of(config.rule, config.config),
            config.seeds,
            state,
            source,
            checkpoint=checkpoint,
        )
        self.first, self.last, self.stride = 0, config.steps, 1
        self.rate = 0.0
        self._chunk, self._compiled = 1, False
        self._timed_updates, self._seconds = 0, 0.0

    def advance(self, limit: int, should_stop: Callable[[], bool]) -> None:
        """One dispatch of the program.

        Raises:
            OSError: If the next part of data that is streamed cannot be read.
        """
        started = time.perf_counter()
        if self._reader:
            limit = min(limit, self._turn(self._reader))
        last = min(self.step + self._chunk, limit)
        if self.step % self._interval == 0:
            self._groups.start_window()
        self._groups.advance(self.step, last)
        self._groups.block()
        seconds = time.perf_counter() - started
        if self._compiled:
            self.rate = (last - self.step) / seconds
            # Processes that train together measure different rates, but must do the same.
            self._chunk = max(1, *from_all(int(self.rate * DISPATCH_SECONDS)))
            self._timed_updates += last - self.step
            self._seconds += seconds
        self._compiled = True
        self.step = last

    def _turn(self, reader: PartReader) -> int:
        """Has the part whose turn it is on the device, and the next one read; gives its end."""
        number = reader.number(self.step)
        if number != self._part:
            self._groups.use(None)
            self._groups.use(reader.take(number))
            self._part = number
        reader.ask(number + 1)
        return reader.end(number)

    def close(self) -> None:
        """Ends the threads, and the reading of data that is streamed."""
        self._groups.close()
        if self._reader:
            self._reader.close()

    def state(self) -> Any:
        """The algorithm's state, stacked over seeds."""
        return self._groups.state

    def window(self) -> Window:
        """The sums since the last multiple of the log interval, or of the one before at one."""
        start = (self.step - 1) // self._interval * self._interval
        rate = self._timed_updates / max(self._seconds, 1e-9)
        return Window(self._groups.metric_sums(), start, self.step, rate)

    def start_window(self) -> None:
        """Measures the time anew; the next update starts the sums anew."""
        self._timed_updates, self._seconds = 0, 0.0

    def take_rows(self) -> Mapping[str, list[dict[str, Any]]]:
        """None: nothing happens beside updates."""
        return {}

    def snapshot(self) -> Snapshot:
        """The sums of the metrics."""
        sums = {name: sums.tolist() for name, sums in self._groups.metric_sums().items()}
        return Snapshot({"metric_sums": sums}, {}, ())
