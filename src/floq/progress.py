"""How long work tells the person in front of it how far it is."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Part = TypeVar("Part")
_PLAIN_SECONDS = 5.0
_SILENT_SECONDS = 30.0
_BUSY_SECONDS = 0.2


class ProgressDisplay:
    """A bar with rate, time left and last success; plain lines where no bar can be drawn.

    Written to standard error; where that cannot be written any more, as after a connection was
    lost, training goes on without. Use as a context manager.
    """

    def __init__(self, steps: int, *, start: int = 0, bar: bool, unit: str = "steps"):
        """Prepares the display.

        Args:
            steps: Steps in all.
            start: Steps that are already done.
            bar: Whether to draw a bar if standard error is a terminal. Otherwise a line is
                printed at a log step, at most every few seconds.
            unit: What a step is.
        """
        console = Console(stderr=True)
        self._steps, self._unit = steps, unit
        self._note = ""
        self._busy = 0.0
        self._printed = self._started = time.monotonic()
        self._start = self._done = start
        self._progress: Progress | None = None
        if bar and console.is_terminal:
            self._progress = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(f"{{task.fields[rate]}} {unit}/s, left"),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[note]}"),
                console=console,
            )
            self._task: TaskID = self._progress.add_task(
                "", total=steps, completed=start, rate="?", note=""
            )
        self._console = console

    def __enter__(self) -> "ProgressDisplay":
        """Draws the bar."""
        if self._progress:
            with contextlib.suppress(OSError):
                self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the bar as it is."""
        if self._progress:
            with contextlib.suppress(OSError):
                self._progress.stop()

    def update(self, step: int, rate: float) -> None:
        """Shows the step and the steps a second: without a bar, after half a minute of silence."""
        if self._progress:
            self._progress.update(
                self._task, completed=step, rate=format_rate(rate), note=self._note
            )
        elif time.monotonic() - self._printed >= _SILENT_SECONDS:
            self.log(step, rate)

    def through(self, parts: Iterable[Part], size: Callable[[Part], int] = len) -> Iterator[Part]:
        """The parts of work, each of which is done when the next one is asked for.

        Args:
            parts: Some of them, or all; several calls go on counting.
            size: The steps that a part is.
        """
        for part in parts:
            yield part
            self.reach(self._done + size(part))

    def reach(self, step: int) -> None:
        """Shows the step, and the steps a second since the display was made."""
        self._done = step
        rate = (step - self._start) / max(time.monotonic() - self._started, 1e-9)
        self.update(step, rate)
        if step < self._steps:  # What is done at once needs no line.
            self.log(step, rate)

    def note(self, text: str) -> None:
        """Shows a short text, such as the last success, from now on."""
        self._note = text

    def busy(self, text: str) -> None:
        """Shows what goes on between two steps, now and then; to be called as often as one likes.

        Args:
            text: What goes on.
        """
        now = time.monotonic()
        if now - self._busy < _BUSY_SECONDS:
            return
        self._busy = now
        if self._progress:
            self._progress.update(self._task, note=text)
        elif now - self._printed >= _PLAIN_SECONDS:
            self._printed = now
            self._print(text)

    def log(self, step: int, rate: float) -> None:
        """Prints a line where there is no bar and enough time has passed."""
        now = time.monotonic()
        if self._progress or (now - self._printed < _PLAIN_SECONDS and step < self._steps):
            return
        self._printed = now
        parts = [f"{self._unit.removesuffix('s')} {step:,} of {self._steps:,}"]
        if rate:  # It is not known at once.
            left = (self._steps - step) / rate
            parts += [f"{format_rate(rate)} {self._unit}/s", f"{left / 60:.0f} min left"]
        parts.append(self._note)
        self._print(", ".join(part for part in parts if part))

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(text, highlight=False)


def format_rate(rate: float) -> str:
    """A rate with about three digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
