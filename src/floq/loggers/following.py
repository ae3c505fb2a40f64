"""Telling loggers what the files of a run hold, at once or as they grow."""

import contextlib
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.loggers.logger import Logger
from floq.runs.directory import EPISODES, EVALUATIONS, METRICS, TIMINGS, RowTail, read_config
from floq.runs.run import Run, load_run
from floq.settings import to_json

_PREFIXES = {METRICS: "", EVALUATIONS: "evaluation/", EPISODES: "episode/", TIMINGS: "speed/"}
_LABELS = {"step", "seed", "policy", "environment"}
"""What says which row it is, and is no figure."""


class Following:
    """Loggers that follow the files of a run. Use as a context manager, which closes them."""

    def __init__(self, loggers: Sequence[Logger], directory: Path):
        """Starts the loggers, and tells them what the files hold already.

        Args:
            loggers: They.
            directory: The run.
        """
        self._loggers = list(loggers)
        if not loggers:
            return
        config = read_config(directory)
        self._algorithm = config.algorithm
        self._tails = {name: RowTail(directory / name) for name in _PREFIXES}
        content = to_json(config)
        self._each(lambda logger: logger.start(directory, content))
        self.update()

    def __enter__(self) -> "Following":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the loggers."""
        self._close()

    def _close(self) -> None:
        self._each(lambda logger: logger.close())
        self._loggers = []

    @property
    def count(self) -> int:
        """Loggers that have not failed."""
        return len(self._loggers)

    def update(self) -> None:
        """Tells what has been written since the last time, in order of steps."""
        if not self._loggers:
            return
        found: dict[int, dict[str, float]] = defaultdict(dict)
        with _never_stopping("Reading the rows for the loggers", "they get no more of this run."):
            for name, tail in self._tails.items():
                for step, rows in _by_step(tail.read()).items():
                    found[step] |= _figures(rows, _PREFIXES[name], self._algorithm)
            for step in sorted(found):
                self._each(lambda logger, step=step: logger.log(step, found[step]))
            return
        self._close()

    def show(self, run: Run) -> None:
        """Shows the pictures of a run's report, and a rollout; a picture that fails is left out."""
        # Rollouts take a while: nobody may want to see them.
        if run.state is None or all(type(one).show is Logger.show for one in self._loggers):
            return
        with _never_stopping("The pictures for the loggers"):
            for name, frames in _pictures(run):
                self._each(
                    lambda logger, name=name, frames=frames: logger.show(run.step, name, frames)
                )

    def _each(self, tell: Callable[[Logger], None]) -> None:
        """Tells every logger; one that fails is told nothing any more."""
        for logger in list(self._loggers):
            kind = type(logger).__name__
            with _never_stopping(f"The logger {kind}", "it gets no more of this run."):
                tell(logger)
                continue
            self._loggers.remove(logger)


def replay(run: str | Path, loggers: Sequence[Logger]) -> bool:
    """Tells loggers a whole run.

    Args:
        run: Its folder.
        loggers: They.

    Returns:
        Whether one has failed, which a warning says.

    Raises:
        FileNotFoundError: If there is no run, or it has saved nothing yet.
        ValueError: If a file of it is not sound.
    """
    loaded = load_run(run)
    with Following(loggers, loaded.directory) as following:
        following.show(loaded)
        count = following.count
    return count < len(loggers)


@contextlib.contextmanager
def _never_stopping(what: str, then: str = "the rest of them is left out.") -> Iterator[None]:
    """Makes a warning of an exception."""
    try:
        yield
    except Exception as error:
        warnings.warn(
            f"{what} failed ({type(error).__name__}: {error}); {then} The run's files hold "
            "everything: `floq log` shows it afterwards.",
            UserWarning,
            stacklevel=4,
        )


def _pictures(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    from floq.reports.rollout import pictures

    return pictures(run)


def _by_step(rows: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["step"]].append(row)
    return found


def _figures(rows: Sequence[Mapping[str, Any]], prefix: str, algorithm: str) -> dict[str, float]:
    """The figures of a file's rows of one step: means over rows, and seeds apart if several."""
    values: dict[str, list[float]] = defaultdict(list)
    seeds = {row["seed"] for row in rows if "seed" in row}
    for row in rows:
        policy = row.get("policy", algorithm)
        group = prefix if policy == algorithm else f"{prefix}{policy}/"
        for name, value in row.items():
            if name in _LABELS or not isinstance(value, int | float):
                continue
            values[group + name].append(value)
            if len(seeds) > 1:
                values[f"seed_{row['seed']}/{group}{name}"].append(value)
    return {name: float(np.mean(many)) for name, many in values.items()}
