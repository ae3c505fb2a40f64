"""Reading of npz files that may be damaged, cut short or hostile.

Nothing is decompressed before the sizes that the file declares have been checked against each
other and against the memory of the machine, and nothing is ever unpickled. Over the bytes of a bad
file zipfile, zlib and numpy raise a dozen kinds of exception, so every one of theirs is caught.
"""

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.memory import PIECE, pieces

# Recorded data shrinks to a half or a tenth when it is compressed, never by this much; small files
# of constants may.
_BOMB_BYTES, _BOMB_RATIO = 2**27, 100
_MOST_ARRAYS = 10_000
_STEP = 2**24
"""Bytes that are unpacked at once on the way to others."""


def read_arrays(
    path: Path, *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an npz file.

    Args:
        path: The file.
        required: Names of arrays that the file must hold.
        optional: Names of arrays that are read where the file holds them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A required array is missing, or the file is damaged, holds pickled objects or
            text, or declares more data than the memory of this machine can take.
    """
    found = find_members(path, required=required, optional=optional)
    check_memory(path, sum(member.nbytes for member in found.values()))
    with _open(path) as archive:
        return {name: member.read(archive) for name, member in found.items()}


def array_names(path: Path) -> list[str]:
    """The names of the arrays of an npz file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or has more of them than somebody saved.
    """
    with _open(path) as archive:
        names = sorted(_entries(archive))
    if len(names) > _MOST_ARRAYS:
        raise ValueError(
            f"{path}: it holds {len(names):,} arrays, which is no data that somebody recorded: it "
            "is damaged or hostile"
        )
    return names


class Member(NamedTuple):
    """An array of an npz file, whose header is sound, to be read whole or in part.

    Attributes:
        path: The file.
        entry: Its place in the archive.
        shape: Its shape.
        dtype: Of its numbers.
        header: Bytes before them.
        is_by_column: Whether its numbers lie column by column, as Fortran has them.
    """

    path: Path
    entry: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype
    header: int
    is_by_column: bool

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def form(self) -> np.ndarray:
        """An array of its type and shape that takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)

    def read(self, archive: zipfile.ZipFile) -> np.ndarray:
        """All of it, verified by the archive's checksum.

        Raises:
            ValueError: If it is damaged.
        """
        try:
            with archive.open(self.entry) as file:
                # zipfile hands out no more than the declared size and verifies the CRC at its end.
                return np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:
            raise _damaged(self.path, self.entry, error) from error

    def pieces(self, count: int | None = None) -> Iterator[np.ndarray]:
        """All rows, so many at a time, verified by the archive's checksum at the end.

        Raises:
            ValueError: If it is damaged.
        """
        count = count or PIECE
        with _open(self.path) as archive:
            if self.is_by_column:
                yield from pieces(self.read(archive), count)
                return
            with archive.open(self.entry) as file:
                self._take(file, self.header)
                for first in range(0, len(self.form), count):
                    yield self._rows_of(file, min(count, len(self.form) - first))

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows from one up to another; those of a compressed array are found by unpacking it.

        Raises:
            ValueError: If it is damaged.
        """
        start = self.header + first * self._row_bytes
        if self.entry.compress_type == zipfile.ZIP_STORED and not self.is_by_column:
            with self.path.open("rb") as file:
                file.seek(self.entry.header_offset)
                # The name and what else stands before the content are as long as it says.
                lengths = struct.unpack("<26x2H", self._take(file, 30))
                file.seek(sum(lengths) + start, os.SEEK_CUR)
                return self._rows_of(file, last - first)
        with _open(self.path) as archive:
            if self.is_by_column:
                return self.read(archive)[first:last]
            with archive.open(self.entry) as file:
                self._skip(file, start)
                return self._rows_of(file, last - first)

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _rows_of(self, file: Any, count: int) -> np.ndarray:
        content = self._take(file, count * self._row_bytes)
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    def _take(self, file: Any, size: int) -> bytes:
        try:
            content = file.read(size)
        except Exception as error:
            raise _damaged(self.path, self.entry, error) from error
        if len(content) < size:
            raise _damaged(self.path, self.entry, "it ends before its declared end")
        return content

    def _skip(self, file: Any, size: int) -> None:
        while size:
            size -= len(self._take(file, min(size, _STEP)))


def find_members(
    path: Path, *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Member]:
    """Arrays of an npz file, of which the headers alone are read.

    Args:
        path: The file.
        required: Names of arrays that the file must hold.
        optional: Names of arrays that are found where the file holds them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A required array is missing, or the file is damaged, holds pickled objects or
            text, or declares more data than somebody recorded.
    """
    with _open(path) as archive:
        entries = _entries(archive)
        missing = [name for name in required if name not in entries]
        if missing:
            raise ValueError(
                f"{path}: no array named {', '.join(missing)}; it holds "
                f"{', '.join(sorted(entries)) or 'none'}"
            )
        wanted = [*required, *(name for name in optional if name in entries)]
        found = {name: _member(archive, entries[name], path) for name in wanted}
    check_share(path, sum(member.nbytes for member in found.values()), size=path.stat().st_size)
    return found


def check_declared(path: Path, total: int, *, size: int) -> None:
    """Refuses more data than a file can hold, or this machine.

    Args:
        path: The file.
        total: Bytes of data that it declares.
        size: Bytes that it has.

    Raises:
        ValueError: If there is more.
    """
    check_share(path, total, size=size)
    check_memory(path, total)


def check_share(path: Path, total: int, *, size: int) -> None:
    """Refuses more data than a file can hold.

    Args:
        path: The file.
        total: Bytes of data that it declares.
        size: Bytes that it has.

    Raises:
        ValueError: If there is more.
    """
    if total > max(_BOMB_BYTES, _BOMB_RATIO * size):
        raise ValueError(
            f"{path}: declares {total / 1e6:.0f} MB of data in {size / 1e6:.3f} MB, which data "
            "that somebody recorded cannot do: it is damaged or hostile. If it is neither, save it "
            "again without compression, as numpy.savez does"
        )


def check_memory(path: Path, total: int) -> None:
    """Refuses more data than this machine has memory for.

    Raises:
        ValueError: If there is more.
    """
    limit = available_memory()
    if total > limit:
        raise ValueError(
            f"{path}: declares {total / 1e9:.1f} GB of data, and this machine has "
            f"{limit / 1e9:.1f} GB of memory free: it is damaged, or needs a larger machine"
        )


def available_memory() -> int:
    """Bytes of memory that can be taken now, or all of the machine's where that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return zipfile.ZipFile(path)
    except Exception as error:
        raise ValueError(
            f"{path}: not an npz file, or cut short ({error}): fetch or generate it again"
        ) from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        entry.filename.removesuffix(".npy"): entry
        for entry in archive.infolist()
        if entry.filename.endswith(".npy")
    }


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Member:
    """An array by its header, which must agree with the archive's directory."""
    # Other methods compress so far that a tiny file could keep a machine busy for hours.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{path}: {entry.filename} is compressed by method {entry.compress_type}, which numpy "
            "does not write: save the arrays again with numpy.savez_compressed"
        )
    try:
        with archive.open(entry) as file:
            # Plain arrays are of version 1.0, whose header cannot be longer than 64 KiB.
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"npy version {version} holds no plain array")
            shape, is_by_column, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
    except Exception as error:
        raise _damaged(path, entry, error) from error
    if dtype.kind not in "fiub":
        raise ValueError(
            f"{path}: {entry.filename} holds "
            f"{'pickled Python objects' if dtype.hasobject else f'values of type {dtype}'}, which "
            "floq does not read: save plain arrays of numbers"
        )
    member = Member(path, entry, shape, dtype, start, is_by_column)
    if min(shape, default=0) < 0 or start + member.nbytes != entry.file_size:
        raise ValueError(
            f"{path}: {entry.filename} declares the shape {shape} of {dtype}, which is not what "
            f"its {entry.file_size} bytes hold: the file is damaged, fetch or generate it again"
        )
    return member


def _damaged(path: Path, entry: zipfile.ZipInfo, error: object) -> ValueError:
    return ValueError(
        f"{path}: {entry.filename} cannot be read ({error}): the file is damaged, fetch or "
        "generate it again"
    )
