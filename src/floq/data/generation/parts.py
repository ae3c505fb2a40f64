"""Files of a dataset in the making: parts of it, and the files they are merged into.

All writes are atomic, so that a file that exists is whole, and equal arrays give equal bytes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from floq.data.files import Pieces, write_arrays
from floq.data.generation.episodes import DTYPES, Episode
from floq.data.npz import read_arrays
from floq.disk import sync_path, writing

_EPISODES_PER_PART = 10
_ALWAYS = [name for name in DTYPES if name != "button_states"]


class Part(NamedTuple):
    """Consecutive episodes that are collected by one process and stored in one file.

    Attributes:
        start: The first episode.
        stop: The episode after the last.
        path: The part's file.
    """

    start: int
    stop: int
    path: Path


def plan_parts(start: int, stop: int, *, directory: Path) -> list[Part]:
    """Splits the episodes from `start` to before `stop` into parts stored in `directory`."""
    edges = [*range(start, stop, _EPISODES_PER_PART), stop]
    return [
        Part(first, last, directory / f"{first:07d}-{last:07d}.npz")
        for first, last in pairwise(edges)
    ]


def write_part(part: Part, episodes: Sequence[Episode]) -> None:
    """Stores the episodes of a part."""
    arrays = {name: np.concatenate([e[name] for e in episodes]) for name in episodes[0]}
    write_arrays(part.path, {name: Pieces.of(values) for name, values in arrays.items()})


def is_complete(part: Part, *, rows: int) -> bool:
    """Whether the part's file exists, can be read, and holds `rows` rows an episode."""
    try:
        arrays = read_arrays(part.path, required=_ALWAYS, optional=["button_states"])
    except (FileNotFoundError, ValueError):
        return False
    expected = (part.stop - part.start) * rows
    return all(
        len(array) == expected and array.dtype == DTYPES[name] for name, array in arrays.items()
    )


def merge_parts(parts: Sequence[Part], *, rows: int, target: Path) -> None:
    """Writes the rows of all parts, in order, into one compressed file at `target`.

    Args:
        parts: Complete parts of `rows` rows an episode.
        rows: Rows of an episode.
        target: The npz file, overwritten where it exists. One part at a time is in memory.
    """
    with np.load(parts[0].path, allow_pickle=False) as first:
        headers = {name: (first[name].shape[1:], first[name].dtype) for name in first.files}
    total = rows * sum(part.stop - part.start for part in parts)
    arrays = {
        name: Pieces((total, *shape), dtype, _rows_of(parts, name))
        for name, (shape, dtype) in headers.items()
    }
    write_arrays(target, arrays, is_compressed=True)


def _rows_of(parts: Sequence[Part], name: str) -> Iterator[np.ndarray]:
    """An array of all parts, one after the other."""
    for part in parts:
        with np.load(part.path, allow_pickle=False) as arrays:
            yield arrays[name]


def replace_file(source: Path, target: Path) -> None:
    """Moves a finished file to its place in one step, once its content is on the disk."""
    sync_path(source)
    with writing(target):
        source.replace(target)
    sync_path(target.parent)
