"""Reading of npz files that may be damaged, cut short or hostile.

Nothing is decompressed before the sizes that the file declares have been checked against each
other and against the memory of the machine, and nothing is ever unpickled. Over the bytes of a bad
file zipfile, zlib and numpy raise a dozen kinds of exception, so every one of theirs is caught.
"""

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Recorded data shrinks to a half or a tenth when it is compressed, never by this much; small files
# of constants may.
_BOMB_BYTES, _BOMB_RATIO = 2**27, 100


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
    with _open(path) as archive:
        entries = _entries(archive)
        missing = [name for name in required if name not in entries]
        if missing:
            raise ValueError(
                f"{path}: no array named {', '.join(missing)}; it holds "
                f"{', '.join(sorted(entries)) or 'none'}"
            )
        wanted = [*required, *(name for name in optional if name in entries)]
        total = sum(_declared_size(archive, entries[name], path) for name in wanted)
        check_declared(path, total, size=path.stat().st_size)
        return {name: _read(archive, entries[name], path) for name in wanted}


def check_declared(path: Path, total: int, *, size: int) -> None:
    """Refuses more data than a file can hold, or this machine.

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


def _declared_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> int:
    """Bytes of an array by its header, which must agree with the archive's directory."""
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
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
    except Exception as error:
        raise _damaged(path, entry, error) from error
    if dtype.kind not in "fiub":
        raise ValueError(
            f"{path}: {entry.filename} holds "
            f"{'pickled Python objects' if dtype.hasobject else f'values of type {dtype}'}, which "
            "floq does not read: save plain arrays of numbers"
        )
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + size != entry.file_size:
        raise ValueError(
            f"{path}: {entry.filename} declares the shape {shape} of {dtype}, which is not what "
            f"its {entry.file_size} bytes hold: the file is damaged, fetch or generate it again"
        )
    return size


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> np.ndarray:
    try:
        with archive.open(entry) as file:
            # zipfile hands out no more than the declared size and verifies the CRC at its end.
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:
        raise _damaged(path, entry, error) from error


def _damaged(path: Path, entry: zipfile.ZipInfo, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: {entry.filename} cannot be read ({error}): the file is damaged, fetch or "
        "generate it again"
    )
