"""Files that are whole or not there: written aside, flushed to the disk, then renamed."""

import json
import os
from pathlib import Path
from typing import Any

from floq.disk import read_json, writing

__all__ = ["json_bytes", "read_json", "replace_bytes", "sync_folder", "write_bytes"]


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
