"""Pictures in a robot's tables made to hurt whoever reads them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from floq.data.info import check_file
from floq.data.reading import Reading
from tests.data.formats.robot_pictures import SIZE, chunk, header, picture, write_pictures, written

_BOMB = zlib.compress(bytes(2**28), 9)
"""A quarter of a gigabyte of nothing, in as many kilobytes."""


def _png(*chunks: bytes, size: tuple[int, int] = SIZE) -> bytes:
    return header(*size) + b"".join(chunks) + chunk(b"IEND", b"")


_HARMS = {
    "picture: 60,000 x 60,000 that say 6 x 8": _png(chunk(b"IDAT", _BOMB), size=(60_000, 60_000)),
    "picture: a text of 256 MB": _png(
        chunk(b"zTXt", b"Comment\0\0" + _BOMB), chunk(b"IDAT", zlib.compress(bytes(6 * 25)))
    ),
    "picture: a profile of 256 MB": _png(chunk(b"iCCP", b"icc\0\0" + _BOMB)),
    "picture: a part of 4 GB": header(*SIZE) + struct.pack(">I", 2**32 - 1) + b"IDAT",
    "picture: a JPEG of 65,535 x 65,535": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03"
    + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00\xff\xd9",
}


def _case(cell: bytes) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def spoil(run: Any) -> None:
        cells = [written(picture(row)) for row in range(9)]
        write_pictures(_folder(run), [*cells[:4], cell, *cells[5:]])

    def read(run: Any) -> object:
        return check_file(f"lerobot:{_folder(run)}", Reading(rewards="demonstrations"))

    return spoil, read


def _folder(run: Any) -> Path:
    return run.data.with_suffix("")


CASES = {name: _case(cell) for name, cell in _HARMS.items()}
