"""Reading of HDF5 files that may be damaged, cut short or hostile.

A file may name other files to be read in its place, link groups to themselves, and declare far more
data than it has. Nothing but plain arrays of numbers behind hard links is read, and their sizes are
checked first. Over the bytes of a bad file h5py raises a dozen kinds of exception, so every one of
its is caught.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.npz import check_memory, check_share
from floq.extras import require_extra

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""What a file begins with."""
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""Those that come with HDF5 and h5py; any other would load a library that the file names."""
_MOST_NAMES = 1_000_000
_CHUNK_BYTES = 2**28


class Group:
    """A group of a file.

    Attributes:
        path: The file.
        name: Where the group lies in it.
    """

    def __init__(self, path: Path, group: Any, budget: "_Budget"):
        """Wraps a group of h5py."""
        self.path = path
        self.name: str = group.name
        self._group = group
        self._budget = budget

    def names(self) -> list[str]:
        """What lies in it."""
        if len(self._group) > _MOST_NAMES:
            raise ValueError(
                f"{self.path}: {self.name} holds {len(self._group):,} entries, which is no data "
                "that somebody recorded: it is damaged or hostile"
            )
        return list(self._group)

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def is_group(self, name: str) -> bool:
        """Whether an entry that is there is a group, and no array."""
        return hasattr(self._entry(name), "keys")

    def group(self, name: str) -> "Group":
        """A group in it.

        Raises:
            ValueError: There is none of that name.
        """
        if not self.is_group(name):
            raise ValueError(f"{self.path}: {self._full(name)} is an array, and not a group")
        return Group(self.path, self._entry(name), self._budget)

    def form(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array in it, which is not read yet.

        Raises:
            ValueError: There is none of that name.
        """
        array = self._array(name)
        return array.shape, array.dtype

    def texts(self, name: str) -> list[str]:
        """A list of short texts in it.

        Raises:
            ValueError: There is none of that name.
        """
        array = self._entry(name)
        if hasattr(array, "keys") or array.ndim != 1 or array.size > _MOST_NAMES:
            raise ValueError(f"{self.path}: {self._full(name)} is no list of names")
        self._check_storage(name, array)
        self._budget.take(array.size * max(array.dtype.itemsize, 64))
        values = array[()].tolist()
        return [one.decode() if isinstance(one, bytes) else str(one) for one in values]

    def array(self, name: str) -> np.ndarray:
        """An array of numbers in it.

        Raises:
            ValueError: There is none of that name, it holds something else, or it declares more
                than the file or the memory can hold.
        """
        array = self._array(name)
        self._check_storage(name, array)
        self._budget.take(array.size * array.dtype.itemsize)
        return array[()]

    def holds_bytes(self, name: str) -> bool:
        """Whether an entry is an array of bytes, of which each row has a number of its own."""
        import h5py

        array = self._entry(name)
        kind = h5py.check_vlen_dtype(array.dtype) if hasattr(array, "dtype") else None
        return kind == np.uint8 and len(array.shape or ()) == 1

    def cells(self, name: str) -> list[bytes]:
        """The bytes in each row of an array that `holds_bytes`.

        Raises:
            ValueError: There is none of that name, or it holds more than the file can.
        """
        array = self._entry(name)
        self._check_storage(name, array)
        self._budget.take(array.size * array.dtype.itemsize)
        cells = list[bytes]()
        for row in range(len(array)):  # Rows may all show the same bytes, and so be a bomb.
            cells.append(array[row].tobytes())
            self._budget.take(len(cells[-1]))
        return cells

    def _full(self, name: str) -> str:
        return f"{self.name}/{name}".replace("//", "/").removeprefix("/")

    def _entry(self, name: str) -> Any:
        import h5py

        if name not in self._group:
            held = ", ".join(sorted(self.names())[:20]) or "nothing"
            raise ValueError(f"{self.path}: no {self._full(name)}; there is {held}")
        link = self._group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(
                f"{self.path}: {self._full(name)} is a link ({type(link).__name__}), which may "
                "lead to another file: copy what it means into this one"
            )
        return self._group[name]

    def _array(self, name: str) -> Any:
        array = self._entry(name)
        if hasattr(array, "keys"):
            raise ValueError(
                f"{self.path}: {self._full(name)} is a group, where one array of numbers is needed"
            )
        if not hasattr(array, "dtype") or array.dtype.kind not in "fiub":
            kind = getattr(array, "dtype", type(array).__name__)
            raise ValueError(
                f"{self.path}: {self._full(name)} holds values of type {kind}, where numbers are "
                "needed"
            )
        if array.shape is None:
            raise ValueError(f"{self.path}: {self._full(name)} is empty")
        return array

    def _check_storage(self, name: str, array: Any) -> None:
        """Refuses what would be read from elsewhere, or unpacked without bound."""
        full = self._full(name)
        made = array.id.get_create_plist()
        if array.is_virtual or array.external:
            raise ValueError(
                f"{self.path}: the values of {full} lie in other files: copy them into this one"
            )
        filters = {made.get_filter(index)[0] for index in range(made.get_nfilters())}
        if filters - _FILTERS:
            raise ValueError(
                f"{self.path}: {full} is compressed by the filter {min(filters - _FILTERS)}, which "
                "needs a library that floq does not load: save it again with gzip"
            )
        chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
        if chunk > max(_CHUNK_BYTES, array.size * array.dtype.itemsize):
            raise ValueError(
                f"{self.path}: {full} is stored in pieces of {chunk / 1e6:.0f} MB, more than it "
                "holds: it is damaged or hostile"
            )


class _Budget:
    """What a file may still give.

    Attributes:
        taken: Bytes that arrays have declared so far.
    """

    def __init__(self, path: Path):
        self.path, self.taken = path, 0

    def take(self, size: int) -> None:
        """Counts an array, before it is read; those before it may have been let go again."""
        self.taken += size
        check_share(self.path, self.taken, size=self.path.stat().st_size)
        check_memory(self.path, size)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Group]:
    """The first group of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or what is asked of it inside raises an error of h5py.
        MissingExtraError: h5py is not installed.
    """
    require_extra("formats")
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield Group(path, file, _Budget(path))
    except (ValueError, FileNotFoundError) as error:
        if str(path) in str(error):
            raise
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: it cannot be read as HDF5 ({error}): it is damaged or cut short, fetch or write "
        "it again"
    )


def first_names(path: Path) -> set[str]:
    """The names at the top of an HDF5 file; none of what is none, or cannot be read.

    Raises:
        MissingExtraError: It is one, and h5py is not installed.
    """
    if not path.is_file():
        return set()
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return set()
    try:
        with opened(path) as file:
            return set(file.names())
    except ValueError:
        return set()
