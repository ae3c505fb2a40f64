"""Episodes put one after the other, and dictionaries of vectors put side by side."""

import bisect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from floq.data.reading import Reading


class Episode(NamedTuple):
    """An episode of a file.

    Attributes:
        name: What the file calls it.
        arrays: Its rows by field.
    """

    name: str
    arrays: dict[str, np.ndarray]


class Together(NamedTuple):
    """Episodes one after the other.

    Attributes:
        arrays: All rows by field.
        place: The words for where a row lies.
    """

    arrays: dict[str, np.ndarray]
    place: Callable[[int], str]


def put_together(path: Path, episodes: Sequence[Episode]) -> Together:
    """The rows of episodes, one after the other.

    Raises:
        ValueError: There is none, or fields differ in length, shape or kind between them.
    """
    if not episodes:
        raise ValueError(f"{path}: it holds no episode: give at least one")
    first = episodes[0]
    for episode in episodes:
        rows = len(episode.arrays["observations"])
        for field, values in episode.arrays.items():
            model = first.arrays[field]
            where = f"{path}: {episode.name}: {field}"
            if values.shape[1:] != model.shape[1:]:
                raise ValueError(
                    f"{where} has rows of shape {values.shape[1:]}, and those of {first.name} have "
                    f"{model.shape[1:]}: all episodes must have the same"
                )
            if (values.dtype.kind in "fiub") != (model.dtype.kind in "fiub"):
                raise ValueError(
                    f"{where} has the dtype {values.dtype}, and in {first.name} {model.dtype}"
                )
            if len(values) != rows:
                raise ValueError(
                    f"{where} has {len(values)} rows where {rows} are due: it was cut short, or is "
                    "damaged"
                )
    starts = list(
        itertools.accumulate(
            (len(episode.arrays["observations"]) for episode in episodes[:-1]), initial=0
        )
    )
    names = [episode.name for episode in episodes]

    def place(row: int) -> str:
        index = bisect.bisect_right(starts, row) - 1
        return f"row {row - starts[index]} of {names[index]}"

    return Together(
        {field: np.concatenate([one.arrays[field] for one in episodes]) for field in first.arrays},
        place,
    )


def chosen_parts(
    forms: Mapping[str, tuple[tuple[int, ...], np.dtype]], reading: Reading, *, source: str
) -> list[str]:
    """Which parts of a dictionary of observations are read, in sorted order.

    Args:
        forms: Shape of a row and type of each part, by its name; parts of parts as part/inner.
        reading: Which parts are asked for.
        source: What the dictionary is called in messages.

    Raises:
        ValueError: If one is not there, or holds images.
    """
    for key in reading.observation_keys:
        if not any(name == key or name.startswith(f"{key}/") for name in forms):
            raise ValueError(
                f"{source}: observation_keys has {key!r}: there is {', '.join(sorted(forms))}"
            )
    names = [
        name
        for name in forms
        if not reading.observation_keys
        or any(name == key or name.startswith(f"{key}/") for key in reading.observation_keys)
    ]
    images = [name for name in names if forms[name][1] == np.uint8 and len(forms[name][0]) > 1]
    if images:
        others = [name for name in sorted(forms) if name not in images]
        raise ValueError(
            f"{source}: {images[0]} holds images, uint8 {forms[images[0]][0]}, which floq reads "
            "from npz files and arrays alone: choose other parts by observation_keys "
            f"(--observation-keys {' '.join(others) or '…'})"
        )
    return sorted(names, key=_in_order)


def _in_order(name: str) -> list[tuple[int, str]]:
    """What parts are sorted by: those of a tuple by their number, others by name."""
    found = [re.fullmatch(r"_index_([0-9]{1,9})", part) for part in name.split("/")]
    return [
        (int(number[1]), "") if number else (0, part)
        for number, part in zip(found, name.split("/"), strict=True)
    ]


def side_by_side(parts: Mapping[str, np.ndarray], *, source: str) -> np.ndarray:
    """Parts of observations as one array (rows, entries), each row of a part flattened.

    Raises:
        ValueError: If there is none, or lengths differ.
    """
    if not parts:
        raise ValueError(f"{source}: observations have no part: give at least one")
    lengths = {name: len(values) for name, values in parts.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"{source}: parts of observations differ in their rows: {lengths}")
    rows = next(iter(lengths.values()))
    return np.concatenate([values.reshape(rows, -1) for values in parts.values()], axis=1)
