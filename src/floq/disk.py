"""The disk: its errors in words, and files that need not be what floq wrote."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JSON_BYTES = 2**24
"""Larger JSON is not floq's: its settings and records take kilobytes."""


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
