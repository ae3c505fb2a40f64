"""The disk: its errors in words, what it cannot do, and files that need not be what floq wrote.

What is replaced is whole or not there: written aside, flushed to the disk, then renamed.
"""

import contextlib
import errno
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JSON_BYTES = 2**24
"""Larger JSON is not floq's: its settings and records take kilobytes."""
_CANNOT_SYNC = {
    errno.EACCES,
    errno.EBADF,
    errno.EINVAL,
    errno.EISDIR,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.ENOTTY,
    errno.EOPNOTSUPP,
    errno.EPERM,
}
"""What a file system answers that cannot wait for its disk; others are a disk's failures."""


def user_path(path: str | Path, name: str = "the path") -> Path:
    """A path as users write it, in which ~ is their home.

    Args:
        path: The path.
        name: What errors call it.

    Raises:
        TypeError: If it is something else.
        ValueError: If it is empty, or they have no home.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} is of type {type(path).__name__}: give a str or a pathlib.Path.")
    if path == "":
        raise ValueError(f"{name} is empty: give a path, or . for the folder that this is.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        if Path(path).parts[0] != "~":
            return Path(path)  # The name of no user: a folder may be called so.
        raise ValueError(
            f"{path}: there is no home folder for ~ to mean. Set $HOME, or give a path without ~."
        ) from None


def output_file(output: str | Path | None, default: Path) -> Path:
    """The file to write that somebody has named, or the default, where one can be written.

    To be asked before the work for it.

    Raises:
        OSError: If it is a folder, or something else that is no file, or its place takes none.
        TypeError: If the name is no path.
    """
    path = default if output is None else user_path(output, "output")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file, such as {path / default.name}.")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no regular file: name another one.")
    return writable(path)


def writable(path: Path) -> Path:
    """The path, if a file or a folder can be made there.

    Raises:
        OSError: If not.
    """
    try:
        places = [path] if path.is_dir() else path.absolute().parents
        folder = next(one for one in places if os.access(one, os.F_OK))
        with tempfile.TemporaryFile(dir=folder):
            return path
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}): give another place."
        ) from error


def user_cache() -> Path:
    """The folder of what floq keeps in the user's cache and can make again.

    Raises:
        ValueError: If no variable names the cache, and the user has no home.
    """
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "floq"


def sync(descriptor: int) -> None:
    """Waits until the disk has what was written to an open file, or the names in an open folder.

    Goes on, with a warning, where the file system cannot say when that is.

    Raises:
        OSError: If the disk fails.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        _pass_over(error)


def sync_path(path: Path) -> None:
    """Waits until the disk has a file's content, or the names in a folder, as `sync` does.

    Raises:
        OSError: If the disk fails; it names the path.
    """
    with writing(path):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            return _pass_over(error)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


def _pass_over(error: OSError) -> None:
    if error.errno not in _CANNOT_SYNC:
        raise error
    warnings.warn(
        f"this file system does not say when the disk has what was written ({error.strerror}): "
        "floq goes on without waiting, so that a power cut may cost the last checkpoint.",
        UserWarning,
        stacklevel=3,
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the path where writing it fails, which the system's own error does not do.

    Raises:
        OSError: If the body raises one.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} cannot be written ({error.strerror}). Make room or mend the disk, then go on: "
            "what was saved before is intact",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a new file and waits until the disk has it."""
    with writing(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file such that a crash leaves either the old content or the new one."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        write_bytes(partial, content)
        with writing(path):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_path(path.parent)


def read_bytes(path: Path, *, limit: int) -> bytes:
    """The content of a file, which must be a regular one: a pipe would never end.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or has more than `limit` bytes.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file: it is not what floq wrote.")
    if size > limit:
        raise ValueError(
            f"{path} has {size:,} bytes, where at most {limit:,} can be: it is damaged."
        )
    return path.read_bytes()


def json_bytes(value: Any) -> bytes:
    """Readable JSON; NaN and infinity, which JSON does not have, are refused.

    Raises:
        ValueError: If a number is not finite.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or far too large for floq's.
    """
    content = read_bytes(path, limit=JSON_BYTES)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): it is damaged.") from error
