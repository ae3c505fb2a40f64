"""LeRobot's folders, v3.0: Parquet files and videos, which hold many episodes each."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.files import DatasetFile
from floq.data.formats import pictures, tables
from floq.data.formats.cameras import Cameras
from floq.data.formats.episodes import Episode, Stream, chosen_parts, observed, together
from floq.data.formats.lerobot_info import SHOWN, Feature, features_of, frame_count, read_info
from floq.data.npz import check_memory
from floq.data.reading import Reading

OPTIONS = ("observation_keys", "rewards", "resize")
_OBSERVATION = "observation."
_NEEDED = {"next.reward": ["next.reward"], "success": ["next.success"], "demonstrations": []}
_MOST_EPISODES = 1_000_000


def recognises(path: Path) -> bool:
    """Whether it is a folder with LeRobot's description of its features."""
    return (path / "meta" / "info.json").is_file()


def read(path: Path, reading: Reading) -> DatasetFile:
    """The transitions of the episodes, whose last states are not stored.

    Raises:
        ValueError: The files are damaged, or hold what floq cannot take.
        OSError: The disk has no room for decoded frames.
        MissingExtraError: pyarrow or, for videos and pictures, PyAV or Pillow is not installed.
    """
    info = read_info(path)
    features, chosen = _chosen(info, reading, path)
    shown = [features[name].shape[:2] for name in chosen if features[name].is_shown]
    shapes = [(*(reading.resize or size), 3) for size in shown]
    size = frame_count(info, path) * sum(math.prod(shape) for shape in shapes)
    try:
        check_memory(path, size)
    except ValueError as error:
        raise ValueError(f"{error}, or a smaller resize (--resize 96 96)") from error
    return together(stream(path, reading))


def stream(path: Path, reading: Reading) -> Stream:
    """The episodes as they come, whose last states are not stored.

    Raises:
        ValueError: The description is damaged, or leaves open what must be said.
    """
    info = read_info(path)
    features, chosen = _chosen(info, reading, path)
    episodes = _episodes(path, info, features, chosen, reading)
    count = info.get("total_episodes")
    return Stream(path, episodes, count if type(count) is int else 0, layout="transitions")


def _episodes(
    path: Path,
    info: dict[str, Any],
    features: dict[str, Feature],
    chosen: list[str],
    reading: Reading,
) -> Iterator[Episode]:
    needed = _NEEDED[reading.rewards or "demonstrations"]
    optional = [name for name in ("next.done", "next.truncated") if name in features]
    videos, images = ([one for one in chosen if features[one].kind == kind] for kind in SHOWN)
    states = [name for name in chosen if not features[name].is_shown]
    columns = [*states, "action", *needed, *optional, "episode_index"]
    files = sorted((path / "data").glob("*/*.parquet"))
    cameras = _cameras(path, files, info, {name: features[name] for name in videos}, reading)
    found = 0
    for file in files:
        rows = tables.read(file, [*columns, *images])
        cells = {name: rows.cells(f"{name}/bytes") for name in images}
        arrays = {
            name: rows.array(name, features[name].shape if name in features else ())
            for name in columns
        }
        found += len(rows)
        for number, own in _split(file, arrays["episode_index"]):
            one = {name: values[own] for name, values in arrays.items()}
            name = f"episode {number} in {file.parent.name}/{file.name}"
            parts = {key: one[key] for key in states}
            parts |= {key: cameras.frames(key, number) for key in videos}
            for key in images:
                size, where = features[key].shape[:2], f"{file}: {key} of episode {number}"
                parts[key] = pictures.decoded(cells[key][own], size, reading.resize, source=where)
            yield _episode(name, one, parts, reading, source=f"{file}: {name}")
    if (total := info.get("total_frames")) != found:
        raise ValueError(
            f"{path}: meta/info.json says total_frames is {total!r}, and the files under data have "
            f"{found} rows: it was cut short"
        )


def _cameras(
    path: Path,
    files: list[Path],
    info: dict[str, Any],
    videos: Mapping[str, Feature],
    reading: Reading,
) -> Cameras:
    """The frames of all videos, decoded."""
    times: dict[int, np.ndarray] = {}
    for file in files if videos else ():
        rows = tables.read(file, ["episode_index", "timestamp"])
        shown = rows.array("timestamp", ()).astype(np.float64)
        for number, own in _split(file, rows.array("episode_index", ())):
            if number in times:
                raise ValueError(f"{file}: episode {number} is in another file too: it is damaged")
            times[number] = shown[own]
    sizes = {name: feature.shape[:2] for name, feature in videos.items()}
    return Cameras.decoded(path, info, times, sizes, reading.resize)


def _chosen(
    info: dict[str, Any], reading: Reading, path: Path
) -> tuple[dict[str, Feature], list[str]]:
    """All features, and those of the observations that are read."""
    features = features_of(info, path)
    if reading.rewards is None:
        there = [name for name in features if name.startswith("next.")]
        raise ValueError(
            f"{path}: LeRobot's sets leave open what their rewards are: say by rewards (--rewards) "
            "next.reward, success (1 where next.success is true at an episode's end) or "
            "demonstrations (1 at every episode's end). Of these it holds "
            f"{', '.join(there) or 'none'}"
        )
    for name in ["action", *_NEEDED[reading.rewards]]:
        if name not in features:
            raise ValueError(
                f"{path}/meta/info.json: no feature {name}, which rewards={reading.rewards!r} "
                f"needs; there is {', '.join(sorted(features))}"
            )
    forms = {
        name.removeprefix(_OBSERVATION): (feature.shape, feature.dtype)
        for name, feature in features.items()
        if name.startswith(_OBSERVATION)
    }
    chosen = [f"{_OBSERVATION}{key}" for key in chosen_parts(forms, reading, source=str(path))]
    for name in chosen:
        feature = features[name]
        if feature.is_shown and feature.shape[-1] != 3:
            raise ValueError(
                f"{path}: {name} is of the kind {feature.kind} and the shape {feature.shape}, and "
                "floq reads those of three channels: choose other parts by observation_keys"
            )
    return features, chosen


def _split(file: Path, index: np.ndarray) -> Iterator[tuple[int, slice]]:
    """The number of each episode of a file, and its rows, which lie one after the other."""
    starts = np.flatnonzero(np.diff(index, prepend=index[:1] - 1))
    names = index[starts]
    if len(np.unique(names)) < len(names) or len(names) > _MOST_EPISODES:
        raise ValueError(f"{file}: the rows of an episode do not follow one another: sort them")
    for number, start, end in zip(names, starts, [*starts[1:], len(index)], strict=True):
        yield int(number), slice(start, end)


def _episode(
    name: str,
    one: dict[str, np.ndarray],
    shown: dict[str, np.ndarray],
    reading: Reading,
    *,
    source: str,
) -> Episode:
    length = len(one["action"])
    is_last = np.arange(length) == length - 1
    parts = {key.removeprefix(_OBSERVATION): values for key, values in shown.items()}
    states, form = observed(parts, source=source)
    arrays = {
        "observations": states,
        "actions": one["action"].reshape(length, -1),
        **_earned(one, is_last, reading),
        "terminals": is_last,
    }
    return Episode(name, arrays, form)


def _earned(
    one: dict[str, np.ndarray], is_last: np.ndarray, reading: Reading
) -> dict[str, np.ndarray]:
    """Rewards and masks: values end where an episode is done, and was not cut short."""
    if reading.rewards == "demonstrations":
        ends = is_last
    elif reading.rewards == "success":
        ends = is_last & (one["next.success"] != 0)
    else:
        ends = is_last & (one.get("next.done", np.zeros(len(is_last))) != 0)
        ends &= one.get("next.truncated", np.zeros(len(is_last))) == 0
        return {"rewards": one["next.reward"], "masks": 1.0 - ends}
    return {"rewards": ends.astype(np.float32), "masks": 1.0 - ends}
