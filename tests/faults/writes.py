"""A disk that is full or broken at one write after another.

The disk is watched between Python and the operating system: every call that opens a file to write,
writes, flushes, makes, renames or removes a name or waits for the disk is counted, and one of them
fails.
"""

import builtins
import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.generation import parts
from floq.reports.report import report
from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.training import load_run
from tests.faults.learning import resume_small, train_small
from tests.faults.programs import announced, end_of
from tests.faults.trials import ALL, Row, Trial, hold

_ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO}
_STEPS, _LONGER = 30, 50


class Disk:
    """Counts what is done to files below a folder, and fails one call.

    Attributes:
        calls: What each call was, in order.
    """

    def __init__(
        self, folder: Path, *, fail: int = -1, error: int = errno.ENOSPC, stays: bool = False
    ):
        """Watches.

        Args:
            folder: Only what happens below it counts.
            fail: Number of the call that fails, from 0; -1 only counts.
            error: How it fails.
            stays: Whether all later calls fail too that need room.
        """
        self._folder, self._fail, self._error = str(folder), fail, error
        self._stays = stays
        self.calls: list[str] = []

    def call(self, what: str, path: Any) -> None:
        """Counts a call, and fails if it is its turn."""
        name = str(_opened(path) if isinstance(path, int) else path)
        if not name.startswith(self._folder):
            return
        self.calls.append(f"{what} {os.path.relpath(name, self._folder)}")
        needs_room = what not in ("rename", "replace", "unlink", "rmdir")
        late = self._stays and needs_room and 0 <= self._fail < len(self.calls) - 1
        if len(self.calls) - 1 == self._fail or late:
            # As the system does it: a call on a name tells the name, one on an open file does not.
            named = [] if what in ("write", "flush", "fsync") else [name]
            raise OSError(self._error, os.strerror(self._error), *named)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Stands in for the calls of the operating system."""
        kept = {(io, "open"): io.open, (builtins, "open"): builtins.open}
        kept |= {(os, name): getattr(os, name) for name in ("fsync", "mkdir", "rename", "replace",
                                                           "unlink", "rmdir")}  # fmt: skip
        try:
            for (module, name), function in kept.items():
                stand_in = self._open if name == "open" else partial(self._named, name, function)
                setattr(module, name, stand_in)
            yield
        finally:
            for (module, name), function in kept.items():
                setattr(module, name, function)

    def _named(self, name: str, function: Callable[..., Any], path: Any, *rest: Any, **more: Any):
        self.call(name, _located(path, more))
        return function(path, *rest, **more)

    def _open(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int):
            return _OPEN(file, mode, *rest, **more)
        self.call("open", file)
        return _Watched(self, file, _OPEN(file, mode, *rest, **more))


_OPEN = io.open


def _located(path: Any, more: dict[str, Any]) -> Any:
    """The path of a call that names it by the folder's descriptor, as `shutil.rmtree` does."""
    descriptor = more.get("dir_fd")
    return path if descriptor is None else _opened(descriptor) / path


def _opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class _Watched:
    """An open file whose writes are counted; one that fails has written a half."""

    def __init__(self, disk: Disk, path: Any, file: Any):
        self._disk, self._path, self._file = disk, path, file

    def write(self, content: Any) -> int:
        try:
            self._disk.call("write", self._path)
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return self._file.write(content)

    def flush(self) -> None:
        self._disk.call("flush", self._path)
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def train_and_go_on(folder: Path) -> None:
    """A run's life up to its last update; of what is done already nothing is done again."""
    run = folder / "run"
    if not (run / "config.json").exists():
        train_small(run, steps=_STEPS)
    elif announced(run) <= _STEPS:
        resume_small(run, steps=_STEPS)
    resume_small(run, steps=_LONGER)


def _report_and_store(folder: Path) -> None:
    """What is written beside a finished run."""
    report([folder / "run"], output=folder / "page" / "report.html")
    episode = {name: np.zeros((3, 2), kind) for name, kind in parts.DTYPES.items()}
    plan = parts.plan_parts(0, 2, directory=folder)
    parts.write_part(plan[0], [episode, episode])
    parts.merge_parts(plan, rows=3, target=folder / "merged.npz")


def _trial(
    folder: Path,
    ready: Path,
    live: Callable[[Path], None],
    expected: dict[str, str],
    number: int,
    random: np.random.Generator,
) -> None:
    """Fails a call in a life that goes on from `ready`."""
    kind = str(random.choice(list(_ERRORS)))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ready, folder)
    disk, said = Disk(folder, fail=number, error=_ERRORS[kind]), None
    with disk.watched():
        try:
            live(folder)
        except OSError as error:
            said = str(error)
    what = f"{kind} at {disk.calls[number]}"
    clear = not said or (os.strerror(_ERRORS[kind]) in said and str(folder) in said)
    hold(clear, f"{what}: the error does not name the file and the reason: {said}")
    saved = checkpoint_paths(folder / "run" / "checkpoints")
    if saved:
        template = load_run(folder / "run").state
        for path in saved:
            load_checkpoint(path, template)
    # Without an error nothing may be missing; after one, the same commands must mend it.
    if said:
        live(folder)
    hold(end_of(folder / "run") == expected, f"{what}: it ended differently")


@contextlib.contextmanager
def _writes(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    trials: list[Trial] = []
    for live in (train_and_go_on, _report_and_store):
        ready, counted = folder / f"before{live.__name__}", folder / f"counted{live.__name__}"
        ready.mkdir()
        if live is _report_and_store:
            train_and_go_on(ready)
        shutil.copytree(ready, counted)
        disk = Disk(counted)
        with disk.watched():
            live(counted)
        expected = end_of(counted / "run")
        # Every call in a full draw, evenly spread ones in a small draw.
        stride = max(1, 2 * len(disk.calls) // wanted)
        for number in range(len(disk.calls))[::stride]:
            trials.append(partial(_trial, folder / "again", ready, live, expected, number))
    yield trials


ROWS = [
    Row(
        "writes",
        "disk full and I/O errors at each write of training, resuming, report and data",
        "the old checkpoint intact, a clear error, and going on ends in the uncut run's bits",
        ALL,
        6,
        _writes,
    ),
]
