"""Episodes put one after the other, and what observations of several parts become."""

import bisect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.files import DatasetFile
from floq.data.npz import check_memory
from floq.data.reading import Layout, Reading
from floq.observations import ObservationForm, Packed, nested, packed


class Episode(NamedTuple):
    """An episode of a file.

    Attributes:
        name: What the file calls it.
        arrays: Its rows by field.
        form: What the bytes of its observations are, where these hold images.
    """

    name: str
    arrays: dict[str, np.ndarray]
    form: ObservationForm | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its rows."""
        return sum(values.nbytes for values in self.arrays.values())


class Stream(NamedTuple):
    """Episodes as they come, and what holds for all of them.

    Attributes:
        path: The file or folder.
        episodes: One after the other.
        total: How many there are, as the source says.
        layout: What the last rows of those are that have no next observations.
        bounds: Of the actions, where the source has them.
    """

    path: Path
    episodes: Iterator[Episode]
    total: int
    layout: Layout
    bounds: ActionBounds | None = None


def together(stream: Stream) -> DatasetFile:
    """All episodes of a stream.

    Raises:
        ValueError: There is none, or they differ, or what their source raises.
    """
    episodes, size = list[Episode](), 0
    for episode in stream.episodes:
        size += episode.nbytes
        check_memory(stream.path, size)
        episodes.append(episode)
    found = put_together(stream.path, episodes)
    return found._replace(bounds=stream.bounds, layout=stream.layout)


def put_together(path: Path, episodes: Sequence[Episode]) -> DatasetFile:
    """The rows of episodes, one after the other, and the words for where each lies.

    Raises:
        ValueError: There is none, or their fields differ, in names, length, shape or kind.
    """
    if not episodes:
        raise ValueError(f"{path}: it holds no episode: give at least one")
    first = episodes[0]
    for episode in episodes:
        if episode.arrays.keys() != first.arrays.keys():
            raise ValueError(
                f"{path}: {episode.name}: it holds {', '.join(episode.arrays)}, and {first.name} "
                f"{', '.join(first.arrays)}: all episodes must have the same fields"
            )
        rows = len(episode.arrays["observations"])
        if episode.form != first.form:
            raise ValueError(
                f"{path}: {episode.name}: observations hold {episode.form or 'vectors'}, and those "
                f"of {first.name} {first.form or 'vectors'}: all episodes must have the same"
            )
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

    arrays: dict[str, Any] = {
        field: np.concatenate([one.arrays[field] for one in episodes]) for field in first.arrays
    }
    if first.form is not None:
        for field in arrays.keys() & {"observations", "next_observations"}:
            arrays[field] = Packed(arrays[field], first.form)
    return DatasetFile(arrays, place=place)


def chosen_parts(
    forms: Mapping[str, tuple[tuple[int, ...], np.dtype]], reading: Reading, *, source: str
) -> list[str]:
    """Which parts of a dictionary of observations are read, in sorted order.

    Args:
        forms: Shape of a row and type of each part, by its name; parts of parts as part/inner.
        reading: Which parts are asked for.
        source: What the dictionary is called in messages.

    Raises:
        ValueError: If one is not there, or holds bytes that are no image, or an image of others.
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
    for name in names:
        shape, dtype = forms[name]
        is_image = dtype == np.uint8 and len(shape) > 1
        if is_image == (len(shape) == 3):
            continue
        held, words = str(dtype), "an image is one of bytes (uint8), to which it can be converted"
        if is_image:
            held, words = "bytes", "an image has three axes, height, width and channels"
        others = [one for one in sorted(forms) if one != name]
        raise ValueError(
            f"{source}: {name or 'an observation'} holds {held} of the shape {shape}, and {words}: "
            "choose other parts by observation_keys "
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


def observed(
    parts: Mapping[str, np.ndarray], *, source: str
) -> tuple[np.ndarray, ObservationForm | None]:
    """Parts of observations as one array of rows.

    Without images these are their entries side by side, each row of a part flattened. Where a part
    is an image, they are the bytes of the dictionary that `parts` are of, and the form is theirs.

    Args:
        parts: By name, as (rows, …); a single one may have the name "".
        source: What they are called in messages.

    Raises:
        ValueError: If there is none, or lengths differ.
    """
    if not parts:
        raise ValueError(f"{source}: observations have no part: give at least one")
    lengths = {name: len(values) for name, values in parts.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"{source}: parts of observations differ in their rows: {lengths}")
    rows = next(iter(lengths.values()))
    if rows == 0:
        raise ValueError(f"{source}: observations have no row: leave this episode out")
    images = {name for name, one in parts.items() if one.dtype == np.uint8 and one.ndim == 4}
    flat = {
        name: values if name in images else values.reshape(rows, -1)
        for name, values in parts.items()
    }
    if images:
        return packed(nested(flat), source=source)
    return np.concatenate([*flat.values()], axis=1), None
