"""Hands out the runs of a sweep that are left, each once."""

import math
from collections import deque
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from floq.runs.directory import CONFIG, read_config
from floq.sweeps.plan import (
    PlannedRun,
    grid_runs,
    method_config,
    runs_of,
    standing,
)
from floq.sweeps.search import Trial, suggest
from floq.sweeps.settings import setting
from floq.sweeps.spec import Choices, Method, Spec
from floq.sweeps.table import final_rows


class TaskSearch:
    """The search of one method on one task."""

    def __init__(self, spec: Spec, directory: Path, task: str, method: Method):
        """Looks at nothing yet.

        Raises:
            ValueError: If the space names an unknown setting, or a value out of its range.
        """
        assert spec.search is not None
        self._spec, self._search, self._directory = spec, spec.search, directory
        self._task, self._method = task, method
        self._start = _checked_start(spec.known_task(task), method)
        self._trials: list[list[PlannedRun]] = []
        self._values: dict[int, float] = {}

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs that are known of, in the order of the trials."""
        return [run for trial in self._trials for run in trial]

    def forecast(self) -> list[PlannedRun]:
        """As many runs as there will be; those not begun have the settings of the start."""
        runs = []
        for number in range(self._search.trials):
            settings = self._settings_on_disk(number) or self._start_settings()
            runs += runs_of(self._spec, self._task, self._method, settings, trial=number)
        return runs

    def grow(self, failed: Container[str]) -> None:
        """Adds the trials that can be chosen by now.

        Args:
            failed: Names of runs that ended without a result.
        """
        while len(self._trials) < self._search.trials:
            # Later results are left out, even if they are there: they might come later next time.
            known = max(len(self._trials) - self._search.parallel + 1, 0)
            for index in range(known):
                if index not in self._values and not self._evaluate(index, failed):
                    return
            self._trials.append(self._trial(len(self._trials), known))

    def _evaluate(self, index: int, failed: Container[str]) -> bool:
        """Looks up what a trial came to: the mean of the last figures. False if it is not there."""
        runs = self._trials[index]
        if any(run.name in failed for run in runs):
            self._values[index] = math.nan
        elif all(standing(self._directory, run).finished for run in runs):
            rows = [row for run in runs for row in final_rows(self._directory, run)]
            figures = [row.figure for row in rows if row.figure is not None]
            self._values[index] = float(np.mean(figures))
        return index in self._values

    def _trial(self, number: int, known: int) -> list[PlannedRun]:
        settings = self._settings_on_disk(number)
        if settings is None:
            history = [
                Trial(runs[0].varied, self._values[index] if index < known else None)
                for index, runs in enumerate(self._trials)
            ]
            settings = suggest(
                self._method.space,
                self._start,
                history,
                seed=self._search.seed,
                name=f"{self._task}/{self._method.label}",
            )
        return runs_of(self._spec, self._task, self._method, settings, trial=number)

    def _settings_on_disk(self, number: int) -> dict[str, Any] | None:
        """The settings that a trial was begun with, if it was.

        Another version of Optuna might choose others today.
        """
        start = self._start_settings()
        for run in runs_of(self._spec, self._task, self._method, start, trial=number):
            path = self._directory / run.name
            if (path / CONFIG).exists():
                config = read_config(path).config
                return {key: setting(config, key) for key in start}
        return None

    def _start_settings(self) -> dict[str, Any]:
        return {key: setting(self._start, key) for key in self._method.space}


class Queue:
    """The runs of a sweep that are left to do.

    Attributes:
        failures: Why runs could not be finished, by name.
    """

    def __init__(self, spec: Spec, directory: Path):
        """Looks at what the directory holds.

        Args:
            spec: The sweep.
            directory: Its folder.

        Raises:
            ValueError: If a setting is not one, or a folder holds a run of other settings.
        """
        self.failures: dict[str, str] = {}
        self._directory = directory
        self._grid = grid_runs(spec)
        self._searches = _searches(spec, directory)
        self._seen: set[str] = set()
        self._left: deque[PlannedRun] = deque()
        self._grow()

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs that are known of: those of a search come one by one."""
        return [*self._grid, *(run for search in self._searches for run in search.runs)]

    @property
    def left(self) -> list[PlannedRun]:
        """The runs that are known of, were not handed out, and are not finished."""
        return list(self._left)

    def next(self) -> PlannedRun | None:
        """Hands out a run; None if there is none, or none before another ends."""
        return self._left.popleft() if self._left else None

    def ended(self, name: str, failure: str | None = None) -> None:
        """Notes that a run is finished, or why it could not be."""
        if failure is not None:
            self.failures[name] = failure
        self._grow()

    def _grow(self) -> None:
        for search in self._searches:
            search.grow(self.failures)
        for run in self.runs:
            if run.name not in self._seen:
                self._seen.add(run.name)
                if not standing(self._directory, run).finished:
                    self._left.append(run)


def forecast(spec: Spec, directory: Path) -> list[PlannedRun]:
    """All runs of a sweep, without choosing any setting: what a search will choose is not known.

    Raises:
        ValueError: If a setting is not one.
    """
    searches = _searches(spec, directory)
    return [*grid_runs(spec), *(run for search in searches for run in search.forecast())]


def _searches(spec: Spec, directory: Path) -> list[TaskSearch]:
    return [
        TaskSearch(spec, directory, task, method)
        for task in spec.tasks
        for method in spec.methods
        if method.space
    ]


def _checked_start(task: str | None, method: Method) -> Any:
    """The settings that a search starts from, after trying the ends of its space."""
    for key, part in method.space.items():
        ends = part.choices if isinstance(part, Choices) else (part.low, part.high)
        for value in ends:
            method_config(task, method, {key: value})
    return method_config(task, method, {})
