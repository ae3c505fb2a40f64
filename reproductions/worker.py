"""A process that goes on with one job: `python -m reproductions.worker`.

A process of its own for each job keeps the peak of the device's memory apart, and a job that breaks
its device breaks no other. It reads one line of JSON from standard input. When that is closed, by
the process that started it or by its death, it saves and ends.
"""

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import jax

from floq.runs.files import json_bytes, replace_bytes
from floq.settings import from_json
from floq.training import EXIT_INTERRUPTED, Interrupted
from reproductions.jobs import Data, Settings, Training, work


class Report(NamedTuple):
    """What a process says of its work in the end.

    Attributes:
        failure: Why it could not do it, if so.
        peak_memory_bytes: The most that the device held at once; None where it does not say.
    """

    failure: str | None = None
    peak_memory_bytes: int | None = None


def settings_json(settings: Settings) -> dict[str, Any]:
    """The settings for the worker's line."""
    return settings.wanted() | {"directory": str(settings.directory)}


def main() -> int:
    """Goes on with the job on standard input; 0 done, 75 stopped and saved, 1 failed."""
    # An interrupt reaches the whole process group; the parent alone decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    directory = Path(request["settings"].pop("directory"))
    fields = request["settings"]
    settings = Settings(directory, **(fields | {"seeds": tuple(fields["seeds"])}))
    job = from_json(Data | Training, request["job"], name="job")
    if isinstance(job, Training):
        _configure(settings)
    status, failure = 0, None
    try:
        work(job, settings)
    except Interrupted:
        status = EXIT_INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        status, failure = 1, f"{type(error).__name__}: {error}"
    report = Report(failure, None if isinstance(job, Data) else _peak_memory())
    replace_bytes(Path(request["report"]), json_bytes(report._asdict()))
    return status


def _configure(settings: Settings) -> None:
    """Chooses the precision, and keeps compiled programs for the next call."""
    on_gpu = jax.default_backend() == "gpu"
    precision = settings.precision or ("tensorfloat32" if on_gpu else None)
    if precision is not None:
        jax.config.update("jax_default_matmul_precision", precision)
    if on_gpu:
        jax.config.update("jax_compilation_cache_dir", str(settings.directory / "compiled"))


def _peak_memory() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _stop_with_parent() -> None:
    # Not through sys.stdin: its lock, held here, would stop the interpreter from shutting down.
    while os.read(0, 1):
        pass
    # Training turns this into a save; before and after it there is nothing to lose.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
