"""One call: works through a list of jobs until its time is up, and records what that took."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from floq.disk import read_json
from floq.runs.files import json_bytes, replace_bytes
from floq.settings import to_json
from floq.training import EXIT_INTERRUPTED
from floq.training.signals import interruptions
from reproductions.jobs import Job, Settings, is_done
from reproductions.worker import Report, settings_json

_LEAST_SECONDS = 20.0
"""With less time left no job is begun: it would hardly get through its imports."""
_SAVING_SECONDS = 45.0
"""After that long a job that was told to stop is killed; it then goes on from its checkpoint."""
_CALLS = "calls.json"


class Ending(NamedTuple):
    """How a job's share of a call ended.

    Attributes:
        stopped: Whether it was told to stop before it was done.
        report: What its process said.
    """

    stopped: bool
    report: Report


Launch = Callable[[Job, Settings, Callable[[float], bool]], Ending]
"""Goes on with a job, and asks again and again, with the seconds since, whether to stop."""


def work_through(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    seconds: float,
    command: str,
    skip: Sequence[str] = (),
    launch: Launch | None = None,
    after_each: Callable[[], None] = lambda: None,
) -> int:
    """Does the jobs in their order, each from where it stopped.

    A job that fails does not keep the next ones from their turn.

    Args:
        jobs: What to do.
        settings: What the jobs share.
        seconds: Time of the call, after which the job in hand saves and stops.
        command: What was typed, for the record.
        skip: Names of jobs that were done elsewhere.
        launch: What does one; a process of its own by default.
        after_each: Called after each job that was worked on.

    Returns:
        0 if all are done, 75 if something is left, 1 if a job failed.
    """
    settings.directory.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    failed = False
    with interruptions() as stop:
        for job in jobs:
            if job.name in skip or is_done(job, settings):
                continue
            if stop.requested or end - time.monotonic() < _LEAST_SECONDS:
                return 1 if failed else EXIT_INTERRUPTED
            print(f"{job.name}: {end - time.monotonic():.0f} s are left.", flush=True)
            record = _Record(settings.directory, job.name, command)

            def due(passed: float, record: "_Record" = record) -> bool:
                record.write(passed)
                return stop.requested or time.monotonic() > end

            ending = (launch or in_a_process)(job, settings, due)
            record.finish(ending)
            after_each()
            if ending.report.failure is not None:
                print(f"{job.name} failed: {ending.report.failure}", file=sys.stderr)
                failed = True
            if ending.stopped:
                return 1 if failed else EXIT_INTERRUPTED
    return 1 if failed else 0


def in_a_process(job: Job, settings: Settings, due: Callable[[float], bool]) -> Ending:
    """Goes on with a job in a process, which is told to stop when it is due."""
    path = settings.directory / f".{job.name}.report.json"
    path.unlink(missing_ok=True)
    root = str(Path(__file__).parents[1])
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "reproductions.worker"],
        stdin=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)]),
            # Nothing is drawn: without this MuJoCo would look for a display, or for EGL.
            "MUJOCO_GL": "disable",
        },
    )
    assert process.stdin is not None
    request = {"job": to_json(job), "settings": settings_json(settings), "report": str(path)}
    stopped = False
    try:
        # A process that died already is reported by its exit status.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        while _wait(process, 1.0) is None and not stopped:
            stopped = due(time.monotonic() - started)
        if stopped:
            with suppress(BrokenPipeError):
                process.stdin.close()
            _wait(process, _SAVING_SECONDS)
    finally:
        process.kill()
        status = process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
    return Ending(stopped and status != 0, _report(path, status, stopped))


def _wait(process: subprocess.Popen[str], seconds: float) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def _report(path: Path, status: int, stopped: bool) -> Report:
    try:
        return Report(**read_json(path))
    except (FileNotFoundError, TypeError, ValueError):
        if status == 0 or stopped:
            return Report()
    if status < 0:
        return Report(f"its process was ended by {signal.Signals(-status).name}")
    return Report(f"its process ended with the status {status}")


class _Record:
    """The entry of a job's share of a call; it is on the disk while the job is going on."""

    def __init__(self, directory: Path, job: str, command: str):
        self._path = directory / _CALLS
        self._earlier = recorded_calls(directory)
        self._started = time.monotonic()
        self._entry: dict[str, Any] = {
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "job": job,
            "command": command,
            "seconds": 0.0,
            **Report()._asdict(),
        }

    def write(self, seconds: float) -> None:
        self._entry["seconds"] = round(seconds, 1)
        replace_bytes(self._path, json_bytes([*self._earlier, self._entry]))

    def finish(self, ending: Ending) -> None:
        self._entry |= ending.report._asdict()
        self.write(time.monotonic() - self._started)


def recorded_calls(directory: Path) -> list[dict[str, Any]]:
    """What each call spent on each job: its start, command, seconds, failure and peak memory."""
    try:
        found = read_json(directory / _CALLS)
    except (FileNotFoundError, ValueError):
        return []
    return found if isinstance(found, list) else []
