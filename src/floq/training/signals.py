"""Ctrl-C, a cluster's SIGTERM and a lost connection's SIGHUP as a request to save and stop."""

import contextlib
import contextvars
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from floq.workers import handled, stop_signals

_deadline = contextvars.ContextVar("deadline", default=math.inf)


@contextlib.contextmanager
def stopped_at(deadline: float | None) -> Iterator[None]:
    """Has trainings of this thread save and stop at a time, in seconds since the epoch."""
    token = _deadline.set(math.inf if deadline is None else deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class StopRequest:
    """Whether somebody has asked for a stop, or the time that was given is over.

    Attributes:
        asked: Whether somebody has asked.
    """

    def __init__(self) -> None:
        """Nobody has, yet."""
        self.asked, self._deadline = False, _deadline.get()

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self.asked or time.time() >= self._deadline

    def ask(self) -> None:
        """Asks for the stop."""
        self.asked = True

    def __call__(self) -> bool:
        """True once a stop is asked for; for loops that poll."""
        return self.requested


_active: StopRequest | None = None


@contextlib.contextmanager
def interruptions() -> Iterator[StopRequest]:
    """Turns SIGINT, SIGTERM and SIGHUP into a request that the body polls, until it ends.

    Further signals change nothing, so that an impatient second Ctrl-C cannot break the saving.
    Inside another such context it is that one's request, so that a signal which came while
    training was being prepared is seen by its loop.
    Python delivers signals to the main thread only; in another one nothing is installed.
    """
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    if _active is not None:
        yield _active
        return
    request = StopRequest()

    def note(number: int, frame: object) -> None:
        if not request.requested:
            name = signal.Signals(number).name
            # Not print: the signal may have come in the middle of one. The terminal may be gone,
            # or a file may have the number of a standard error that was closed.
            if sys.__stderr__ is not None:
                with contextlib.suppress(OSError):
                    os.write(2, f"\n{name}: saving, then stopping.\n".encode())
        request.ask()

    with handled(note, stop_signals()):
        _active = request
        try:
            yield request
        finally:
            _active = None
