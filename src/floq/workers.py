"""Processes that do a part of a job, as both ends of the pipe between them see it.

A worker is a module with a `main`. It is told its job in one line of JSON on its standard input,
which stays open: its end is how a worker learns that the process that started it is gone.
"""

import importlib.util
import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, NamedTuple

_SHOWN_LINES = 15
"""Lines of a failed worker's standard error that its message shows."""


class Worker(NamedTuple):
    """A process that was started.

    Attributes:
        process: The process.
        errors: What it wrote on its standard error.
    """

    process: subprocess.Popen[str]
    errors: IO[bytes]

    def last_lines(self) -> str:
        """The end of what it wrote on its standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_SHOWN_LINES:])


def start_worker(
    module: str,
    job: Mapping[str, Any],
    stack: ExitStack,
    *,
    output: IO[str] | None = None,
    environment: Mapping[str, str] | None = None,
    own_session: bool = False,
) -> Worker:
    """Starts a worker.

    Args:
        module: The worker's module.
        job: What it is told, as JSON can hold it.
        stack: Kills the process when it is left; a worker that ended before is not harmed.
        output: Where its standard output goes; nowhere by default.
        environment: Variables beside those of this process.
        own_session: Whether Ctrl-C in a terminal leaves it alone.
    """
    errors = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=output or subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env=os.environ | (environment or {}),
            start_new_session=own_session,
        )
    )
    # Leaving the stack kills first and waits then.
    stack.callback(process.kill)
    assert process.stdin is not None
    # A process that died already is reported by its exit status.
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
    return Worker(process, errors)


def receive_job(parent_gone: Callable[[], None]) -> dict[str, Any]:
    """A worker's job, at the beginning of its `main`.

    Args:
        parent_gone: Called, in a thread, once the process that started the worker is gone.
    """
    job = json.loads(sys.stdin.readline())

    def wait() -> None:
        # Not through sys.stdin: its lock, held here, would stop the interpreter from shutting down.
        os.read(0, 1)
        parent_gone()

    threading.Thread(target=wait, daemon=True).start()
    return job


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop.

    SIGHUP, which a lost connection sends, is none of them where it is ignored, as `nohup` has it.
    """
    hang_up = getattr(signal, "SIGHUP", None)  # Not on Windows.
    ignored = hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


@contextmanager
def handled(
    handler: Callable[[int, Any], object], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    """Has a handler take signals while the context lasts.

    Python delivers signals to the main thread only; in another one nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)


def require_posix() -> None:
    """Refuses what needs locks, signals and pipes as Linux and macOS have them.

    Raises:
        RuntimeError: On Windows.
    """
    if importlib.util.find_spec("fcntl") is None or not hasattr(select, "poll"):
        raise RuntimeError(
            f"{platform.system()} is not supported: floq trains on Linux and macOS. On Windows, "
            "install it in WSL (the Windows Subsystem for Linux)."
        )


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
