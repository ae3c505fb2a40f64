"""Folders that one process at a time works in."""

import contextlib
import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from floq.disk import writing
from floq.workers import require_posix

_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}
"""What the system answers where another process has the lock; others: it has no locks here."""
_OWNER = ".owner"
_WRITTEN_SECONDS = 1.0
"""Time in which a process that has made its record has also written it."""


class HeldFolder(RuntimeError):  # noqa: N818 - a fact about the folder, not a fault
    """Another process is at work in a folder."""


def hold(path: Path, *, what: str) -> contextlib.ExitStack:
    """Takes hold of an existing folder until the result is closed, or the process ends.

    The system's lock keeps others out, and goes with the process. File systems such as NFS or
    Lustre may have none, on all hosts or on some; so a record of who works in the folder lies
    beside it, which is made only where there is none, and removed if its process is gone.

    Args:
        path: The folder.
        what: What is done in it, for the error.

    Raises:
        HeldFolder: If another process holds it.
        RuntimeError: On Windows.
        OSError: If nothing can be written there.
    """
    require_posix()
    with contextlib.ExitStack() as stack:
        with writing(path):
            lock = stack.enter_context((path / ".lock").open("w"))
        locked = _lock(lock, path, what)
        # Pushed after the lock, so that it goes first.
        stack.enter_context(_recorded(path / _OWNER, locked=locked, what=what))
        return stack.pop_all()


def _lock(lock: IO[str], path: Path, what: str) -> bool:
    """Takes the system's lock; False where there are none."""
    import fcntl  # Not on Windows.

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise HeldFolder(
                f"Another process is {what} in {path}: wait for it, or stop it first."
            ) from error
        warnings.warn(
            f"the file system of {path} has no locks ({error.strerror}): the file {_OWNER} in it "
            "keeps other processes out instead.",
            UserWarning,
            stacklevel=3,
        )
        return False
    return True


@contextlib.contextmanager
def _recorded(record: Path, *, locked: bool, what: str) -> Iterator[None]:
    """Has the record say that this process works in the folder."""
    own = {**_this_process(os.getpid()), "locked": locked}
    while not _create(record, own):
        _remove_if_gone(record, locked=locked, what=what)
    try:
        yield
    finally:
        # One that cannot be removed is found to be of a process that is gone.
        with contextlib.suppress(OSError):
            if _read(record) == own:
                record.unlink()


def _create(record: Path, content: dict[str, Any]) -> bool:
    """Makes a record; False where there is one."""
    with writing(record):
        try:
            file = record.open("x")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(json.dumps(content))
        except OSError:
            record.unlink(missing_ok=True)
            raise
    return True


def _remove_if_gone(record: Path, *, locked: bool, what: str) -> None:
    """Removes the record of a process that is gone.

    One process at a time does: another could take a record for the former one that was made since.

    Raises:
        HeldFolder: If its process is not gone, or may not be.
    """
    turn = record.with_suffix(".turn")
    if not _create(turn, _this_process(os.getpid())):
        raise HeldFolder(
            f"Another process is about to work in {record.parent}: try again; if there is none, "
            f"remove {turn}."
        )
    try:
        owner = _read(record)
        if owner is not None and not _is_gone(owner, locked=locked):
            raise HeldFolder(
                f"Process {owner.get('pid')} on {owner.get('host')} is {what} in {record.parent}: "
                f"wait for it, or stop it first. If there is no such process, remove {record}."
            )
        record.unlink(missing_ok=True)
    finally:
        turn.unlink(missing_ok=True)


def _read(record: Path) -> dict[str, Any] | None:
    """What a record says; None where there is none, or one that was never finished."""
    deadline = time.monotonic() + _WRITTEN_SECONDS
    while True:
        try:
            content = json.loads(record.read_text())
            return content if isinstance(content, dict) else None
        except FileNotFoundError:
            return None
        except ValueError:
            if time.monotonic() > deadline:
                return None
        time.sleep(0.05)


def _is_gone(owner: dict[str, Any], *, locked: bool) -> bool:
    """Whether a record's process has ended; False where that cannot be known.

    Args:
        owner: The record.
        locked: Whether this process has the system's lock, which the other one then has not.
    """
    if locked and owner.get("locked"):
        return True
    pid = owner.get("pid")
    if owner.get("host") != _host() or not isinstance(pid, int):
        return False
    now = _this_process(pid)
    return not _exists(pid) or any(owner.get(name) != now[name] for name in ("boot", "started"))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # Somebody else's.
    return True


def _this_process(pid: int) -> dict[str, Any]:
    """What tells a process of this host from all others, also from later ones of its number."""
    # "PID (NAME) STATE …", where a name may hold anything; the start is the 22nd field.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return {
        "host": _host(),
        "boot": _text("/proc/sys/kernel/random/boot_id").strip(),
        "pid": pid,
        "started": fields[19] if len(fields) > 19 else "",
    }


def _host() -> str:
    """This host; a container, which numbers processes by itself, is another one."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
