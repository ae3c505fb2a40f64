"""Files that are whole or not there: written aside, flushed to the disk, then renamed."""

import json
from pathlib import Path
from typing import Any

from floq.disk import read_json, sync, sync_path, writing

__all__ = ["json_bytes", "read_json", "replace_bytes", "write_bytes"]


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


def json_bytes(value: Any) -> bytes:
    """Readable JSON; NaN and infinity, which JSON does not have, are refused.

    Raises:
        ValueError: If a number is not finite.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
