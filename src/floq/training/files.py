"""Files that are whole or not there: written aside, flushed to the disk, then renamed."""

import json
import os
from pathlib import Path
from typing import Any

from floq.disk import writing

JSON_BYTES = 2**24
"""Larger JSON is not floq's: its settings and records take kilobytes."""


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a new file and waits until the disk has it."""
    with writing(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the names in a folder."""
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file such that a crash leaves either the old content or the new one."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        write_bytes(partial, content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def json_bytes(value: Any) -> bytes:
    """Readable JSON; NaN and infinity, which JSON does not have, are refused.

    Raises:
        ValueError: If a number is not finite.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


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
