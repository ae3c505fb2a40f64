"""Large arrays in memory: read in pieces, and handed to the device without a copy.

Free of jax until there is something for the device, since files are checked without it.
"""

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from floq.observations import ObservationForm

ACTION_LIMIT = 1 - 1e-5
"""Actions are clipped to [-ACTION_LIMIT, ACTION_LIMIT], as in the published runs."""
PIECE = 65_536
"""Rows that are looked at together, so that what is computed of them stays small."""
_PIECE_BYTES = 2**23
"""Bytes of a piece of observations, of which images are many a row."""
_ALIGNMENT = 64
"""Bytes at whose multiples the device of a CPU takes an array over as it is."""


def zeros(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """An array for `on_device`; what is never written takes no memory."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def rows_of_piece(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Rows of an array that are looked at together."""
    row = max(1, int(np.prod(shape[1:])) * dtype.itemsize)
    return max(1, min(PIECE, _PIECE_BYTES // row))


def filled(
    shape: tuple[int, ...], parts: Iterable[np.ndarray], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """An array for `on_device` of rows that come some at a time."""
    rows, start = zeros(shape, dtype), 0
    for part in parts:
        rows[start : start + len(part)] = part
        start += len(part)
    return rows


def observation_dtype(form: ObservationForm | None) -> np.dtype:
    """Of the rows of observations: images are bytes, vectors float32."""
    return np.dtype(np.float32 if form is None else np.uint8)


def clip_actions(actions: np.ndarray) -> np.ndarray:
    """Actions as data holds them, within ±`ACTION_LIMIT`."""
    return np.clip(actions.astype(np.float32, copy=False), -ACTION_LIMIT, ACTION_LIMIT)


def pieces(values: np.ndarray, count: int | None = None) -> Iterator[np.ndarray]:
    """The rows, so many at a time; those of a file that is mapped to be read are let go again."""
    mapped = values
    while mapped is not None and not isinstance(mapped, np.memmap):
        mapped = getattr(mapped, "base", None)
    # In other modes the pages may hold what is not in the file.
    forget = getattr(mapped, "_mmap", None) if getattr(mapped, "mode", "") == "r" else None
    count = count or rows_of_piece(values.shape, values.dtype)
    for start in range(0, len(values), count):
        yield values[start : start + count]
        if forget is not None and hasattr(mmap, "MADV_DONTNEED"):
            forget.madvise(mmap.MADV_DONTNEED)


def on_device(values: np.ndarray) -> Any:
    """An array on the device, which may be the same memory: nobody must write to it any more."""
    import jax

    return jax.device_put(values)


class Flags:
    """A flag of each row, eight in a byte."""

    def __init__(self, rows: int):
        """None is set."""
        self._bytes = np.zeros(-(-rows // 8), np.uint8)
        self.rows = rows

    def read(self, first: int, last: int) -> np.ndarray:
        """Those from one row up to another, bool."""
        bits = np.unpackbits(self._bytes[first // 8 : -(-last // 8)])
        return bits[first % 8 : first % 8 + last - first].astype(bool)

    def around(self, first: int, last: int) -> np.ndarray:
        """Likewise, where after the last row comes the first one again, and before it the last."""
        rows = np.arange(first, last) % self.rows
        return (self._bytes[rows // 8] >> (7 - rows % 8) & 1).astype(bool)

    def write(self, first: int, values: np.ndarray) -> None:
        """Sets those from a row on."""
        touched = slice(first // 8, -(-(first + len(values)) // 8))
        bits = np.unpackbits(self._bytes[touched])
        bits[first % 8 : first % 8 + len(values)] = values
        self._bytes[touched] = np.packbits(bits)


def edges(rows: int) -> Iterator[tuple[int, int]]:
    """The first row and the one after the last of each piece."""
    for first in range(0, rows, PIECE):
        yield first, min(first + PIECE, rows)
