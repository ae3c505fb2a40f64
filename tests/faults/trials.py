"""What a row of the table is, and how its trials are drawn and counted."""

import contextlib
import dataclasses
import io
import time
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

Trial = Callable[[np.random.Generator], Mapping[str, float] | None]
"""Does the harm, raises where what must hold does not, and may return what it measured."""

ALL = 10**6
"""In place of a number of trials: as many as there are, such as one for every write."""


class BrokenPromise(AssertionError):  # noqa: N818 - what happened, not an error of the program
    """What had to hold did not."""


def hold(condition: object, words: str) -> None:
    """Raises `BrokenPromise` with the words if the condition is not true."""
    if not condition:
        raise BrokenPromise(words)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: What `--only` calls it.
        done: What is done to the program.
        holds: What must hold then.
        full: Trials of the full draw, `ALL` for as many as there are.
        small: Trials of the draw in the tests.
        prepare: Opens what the trials share, in a folder of its own, and gives at most the wanted
            number of trials.
    """

    name: str
    done: str
    holds: str
    full: int
    small: int
    prepare: Callable[[Path, int], AbstractContextManager[Sequence[Trial]]]


def run_row(
    row: Row,
    draw: Literal["full", "small"],
    *,
    seed: int,
    folder: Path,
    trials: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Draws the trials of a row, all of them whatever happens to some, and counts.

    Args:
        row: The row.
        draw: How many trials.
        seed: With the row's name and a trial's number it seeds the trial.
        folder: An empty folder to work in.
        trials: Another number of trials.
        tell: Is told about progress, now and then, and about each failure.

    Returns:
        The counts, the failing cases in words, and the largest of each thing measured.
    """
    wanted = trials if trials is not None else getattr(row, draw)
    started = told = time.monotonic()
    failures: list[str] = []
    measured: dict[str, float] = {}
    done = 0
    # What the program says while it is harmed is read by the trials, not by people.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        row.prepare(folder, wanted) as prepared,
    ):
        for index, trial in enumerate(prepared[:wanted]):
            random = np.random.default_rng([seed, zlib.crc32(row.name.encode()), index])
            try:
                for name, value in (trial(random) or {}).items():
                    measured[name] = max(value, measured.get(name, -np.inf))
            except Exception as error:
                failures.append(f"trial {index}: {_in_words(error)}")
                tell(f"{row.name}: {failures[-1]}")
            done += 1
            if time.monotonic() - told > 5:
                told = time.monotonic()
                tell(f"{row.name}: {done} of {len(prepared)}, {len(failures)} failed")
    seconds = round(time.monotonic() - started, 1)
    tell(f"{row.name}: {done - len(failures)} of {done} held, {seconds} s")
    return {
        "done": row.done,
        "holds": row.holds,
        "draw": draw if trials is None else f"{trials} trials",
        "wanted": "every one" if row.full == ALL else row.full,
        "trials": done,
        "held": done - len(failures),
        "failed": len(failures),
        "seconds": seconds,
        "measured": {name: float(f"{value:.3g}") for name, value in measured.items()},
        "cases": failures,
    }


def _in_words(error: Exception) -> str:
    if isinstance(error, BrokenPromise):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = Path(frame.filename).name
    return f"{type(error).__name__}: {error} ({name}, line {frame.lineno})"
