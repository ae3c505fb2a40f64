"""Folders that one process at a time works in."""

import fcntl
from pathlib import Path
from typing import IO


class HeldFolder(RuntimeError):  # noqa: N818 - a fact about the folder, not a fault
    """Another process is at work in a folder."""


def hold(path: Path, *, what: str) -> IO[str]:
    """Takes hold of an existing folder until the result is closed, or the process ends.

    Args:
        path: The folder.
        what: What is done in it, for the error.

    Raises:
        HeldFolder: If another process holds it.
    """
    # The lock goes when the process does, however it ends.
    lock = (path / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise HeldFolder(
            f"Another process is {what} in {path}: wait for it, or stop it first."
        ) from error
    return lock
