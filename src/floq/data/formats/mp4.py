"""What the tables of an MP4 file declare, looked at before a library believes them.

A few bytes can declare samples, runs and edits without number, for each of which a reader takes
memory. Only what writers of plain video write is let through, with no more samples than are due.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_FOLDERS = {"moov", "trak", "edts", "mdia", "minf", "stbl"}
_LISTS = {"stts": 8, "ctts": 8, "stsc": 12, "stco": 4, "co64": 8, "stss": 4}
"""Boxes that are lists, and the bytes of an entry."""
_COUNTED = ("stts", "ctts")
"""Lists whose entries stand for as many samples as they say."""
_MOST_BOXES, _MOST_EDITS, _MOST_BYTES = 10_000, 16, 2**20
_REFUSED = ("stz2", "cmov", "moof", "trun", "mvex")
"""Tables that are packed, or that come in fragments."""
_HIDDEN = [name.encode() for name in (*_FOLDERS, *_LISTS, *_REFUSED, "stsz", "elst", "mvhd")]
"""What would be read wherever it stands, and so must not stand inside other boxes."""


class _Box(NamedTuple):
    kind: str
    start: int
    end: int


def check_tables(path: Path, most: int) -> None:
    """Refuses a file that is cut short, or whose tables declare more than so many samples.

    Args:
        path: The file.
        most: Samples of a track.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: If it is such, or not laid out as a plain MP4 file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        found = 0
        folders = [_Box("file", 0, path.stat().st_size)]
        while folders:
            for box in _boxes(file, path, folders.pop()):
                found += 1
                if found > _MOST_BOXES:
                    raise _hostile(path, f"it has more than {_MOST_BOXES:,} boxes")
                if box.kind in _FOLDERS:
                    folders.append(box)
                elif box.kind != "mdat":
                    _check(file, path, box, most)
        if not found:
            raise ValueError(f"{path}: it is empty: fetch it again")


def _boxes(file: Any, path: Path, outer: _Box) -> Iterator[_Box]:
    """The boxes inside another one."""
    start = outer.start
    while start < outer.end:
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (0, b"")
        body = start + 8
        if length == 1 and len(head) == 16:
            length, body = struct.unpack(">Q", head[8:])[0], start + 16
        end = start + length
        if not body <= end <= outer.end or (start == 0 and kind != b"ftyp"):
            raise ValueError(
                f"{path}: it is no MP4 file, or cut short or damaged: at byte {start:,} it says "
                f"that {length:,} bytes of {kind.decode('latin-1')!r} follow, and "
                f"{outer.end - start:,} are there. Fetch it again"
            )
        yield _Box(kind.decode("latin-1"), body, end)
        start = end


def _check(file: Any, path: Path, box: _Box, most: int) -> None:
    """Looks into a box that is neither a folder nor the samples themselves."""
    size = box.end - box.start
    if size > max(_MOST_BYTES, 16 * most):
        raise _hostile(path, f"its {box.kind} has {size:,} bytes")
    file.seek(box.start)
    content = file.read(size)
    if box.kind == "stsz":
        # The size of all samples, or 0 and the size of each.
        common, count = struct.unpack(">II", content[4:12].ljust(8, b"\0"))
        whole = size == 12 + (0 if common else 4 * count)
    elif box.kind == "elst":
        count = struct.unpack(">I", content[4:8].ljust(4, b"\0"))[0]
        whole, most = size in (8 + 12 * count, 8 + 20 * count), _MOST_EDITS
    elif box.kind in _LISTS:
        width = _LISTS[box.kind]
        count = struct.unpack(">I", content[4:8].ljust(4, b"\0"))[0]
        whole = size == 8 + width * count
        if whole and box.kind in _COUNTED:
            entries = np.frombuffer(content, ">u4", offset=8).reshape(count, 2)
            count = int(entries[:, 0].sum(dtype=np.int64))
    else:
        hidden = [name for name in _HIDDEN if name in content]
        if hidden or box.kind in _REFUSED:
            inner = hidden[0].decode() if hidden else box.kind
            raise _hostile(path, f"it has {inner} in {box.kind}, as files in fragments do")
        return
    if not whole or count > most:
        raise _hostile(
            path, f"its {box.kind} declares {count:,} entries in {size:,} bytes, of {most:,} due"
        )


def _hostile(path: Path, words: str) -> ValueError:
    return ValueError(
        f"{path}: {words}, which no video that somebody recorded has: it is damaged or hostile. "
        "If it is neither, write it anew as a plain MP4 file"
    )
