"""What meta/info.json says of a LeRobot set."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.disk import read_json

SHOWN = ("video", "image")
"""Kinds of features that are looked at."""


class Feature(NamedTuple):
    """What meta/info.json says of a feature.

    Attributes:
        shape: Of a row; of a video or an image height, width and channels.
        dtype: Of its entries.
        kind: What it calls that: a type of numbers, video or image.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    kind: str

    @property
    def is_shown(self) -> bool:
        """Whether it is a video or an image."""
        return self.kind in SHOWN


def read_info(path: Path) -> dict[str, Any]:
    """The description of the set in a folder.

    Raises:
        ValueError: There is none, or it is of another version.
    """
    file = path / "meta" / "info.json"
    if not file.is_file():
        raise ValueError(f"{path}: there is no meta/info.json: give the folder that holds it")
    info = read_json(file)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not (isinstance(version, str) and version.startswith("v3.")):
        raise ValueError(
            f"{file}: codebase_version is {version!r}, and floq reads v3: convert the set with "
            "LeRobot's own converter"
        )
    return info


def features_of(info: dict[str, Any], path: Path) -> dict[str, Feature]:
    """What is said of each feature; videos and images are uint8.

    Raises:
        ValueError: There is none, or one cannot be read.
    """
    found = {}
    given = info.get("features")
    for name, feature in given.items() if isinstance(given, dict) else ():
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        if kind == "string":
            continue
        shape = feature.get("shape") if isinstance(feature, dict) else None
        try:
            dtype = np.dtype("uint8" if kind in SHOWN else kind)
            sizes = tuple(shape) if isinstance(shape, list) else ()
            if dtype.kind not in "fiub" or not all(type(one) is int and one > 0 for one in sizes):
                raise TypeError(f"the shape {shape} of {kind}")
            if kind in SHOWN and len(sizes) != 3:
                raise TypeError(f"the shape {shape} of a {kind}")
        except TypeError as error:
            raise ValueError(
                f"{path}/meta/info.json: the feature {name} cannot be read: {error}"
            ) from error
        if kind in SHOWN and sizes[:1] == (3,) != sizes[2:]:
            sizes = (*sizes[1:], 3)  # Some say the channels first.
        # A single number is one of shape [1], in a column without lists.
        is_number = name.startswith("next.") or name == "episode_index"
        found[name] = Feature(() if is_number else sizes, dtype, str(kind))
    if not found:
        raise ValueError(f"{path}/meta/info.json: there are no features: it is damaged")
    return found


def frame_count(info: dict[str, Any], path: Path) -> int:
    """Rows of all episodes together.

    Raises:
        ValueError: It is not said.
    """
    total = info.get("total_frames")
    if type(total) is not int or total < 1:
        raise ValueError(f"{path}/meta/info.json: total_frames is {total!r}: give 1 or more")
    return total
