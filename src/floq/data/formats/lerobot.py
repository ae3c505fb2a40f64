"""LeRobot's folders, v3.0: states and actions in Parquet files that hold many episodes each."""

from pathlib import Path
from typing import Any

import numpy as np

from floq.data.files import DatasetFile
from floq.data.formats import tables
from floq.data.formats.episodes import Episode, chosen_parts, put_together, side_by_side
from floq.data.reading import Reading
from floq.disk import read_json

OPTIONS = ("observation_keys", "rewards")
_OBSERVATION = "observation."
_MOST_EPISODES = 1_000_000


def recognises(path: Path) -> bool:
    """Whether it is a folder with LeRobot's description of its features."""
    return (path / "meta" / "info.json").is_file()


def read(path: Path, reading: Reading) -> DatasetFile:
    """The transitions of the episodes, whose last states are not stored.

    Raises:
        ValueError: The files are damaged, or hold what floq cannot take.
        MissingExtraError: pyarrow is not installed.
    """
    info = _info(path)
    features = _features(info, path)
    if reading.rewards is None:
        there = [name for name in features if name.startswith("next.")]
        raise ValueError(
            f"{path}: LeRobot's sets leave open what their rewards are: say by rewards (--rewards) "
            "next.reward, success (1 where next.success is true at an episode's end) or "
            "demonstrations (1 at every episode's end). Of these it holds "
            f"{', '.join(there) or 'none'}"
        )
    needed = {"next.reward": ["next.reward"], "success": ["next.success"], "demonstrations": []}
    for name in ["action", *needed[reading.rewards]]:
        if name not in features:
            raise ValueError(
                f"{path}/meta/info.json: no feature {name}, which rewards={reading.rewards!r} "
                f"needs; there is {', '.join(sorted(features))}"
            )
    forms = {
        name.removeprefix(_OBSERVATION): form
        for name, form in features.items()
        if name.startswith(_OBSERVATION)
    }
    chosen = [f"{_OBSERVATION}{key}" for key in chosen_parts(forms, reading, source=str(path))]
    optional = [name for name in ("next.done", "next.truncated") if name in features]
    columns = [*chosen, "action", *needed[reading.rewards], *optional, "episode_index"]
    episodes = []
    for file in sorted((path / "data").glob("*/*.parquet")):
        rows = tables.read(file, columns)
        arrays = {
            name: rows.array(name, features[name][0] if name in features else ())
            for name in columns
        }
        episodes += _split(file, arrays, chosen, reading)
    total = info.get("total_frames")
    together = put_together(path, episodes)
    found = len(together.arrays["observations"])
    if total != found:
        raise ValueError(
            f"{path}: meta/info.json says total_frames is {total!r}, and the files under data have "
            f"{found} rows: it was cut short"
        )
    return DatasetFile(together.arrays, layout="transitions", place=together.place)


def _info(path: Path) -> dict[str, Any]:
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


def _features(info: dict[str, Any], path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each feature; videos and images are uint8."""
    found = {}
    given = info.get("features")
    for name, feature in given.items() if isinstance(given, dict) else ():
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        if kind == "string":
            continue
        shape = feature.get("shape") if isinstance(feature, dict) else None
        try:
            dtype = np.dtype("uint8" if kind in ("video", "image") else kind)
            sizes = tuple(shape) if isinstance(shape, list) else ()
            if dtype.kind not in "fiub" or not all(type(one) is int and one > 0 for one in sizes):
                raise TypeError(f"the shape {shape} of {kind}")
        except TypeError as error:
            raise ValueError(
                f"{path}/meta/info.json: the feature {name} cannot be read: {error}"
            ) from error
        # A single number is one of shape [1], in a column without lists.
        is_number = name.startswith("next.") or name == "episode_index"
        found[name] = (() if is_number else sizes, dtype)
    if not found:
        raise ValueError(f"{path}/meta/info.json: there are no features: it is damaged")
    return found


def _split(
    file: Path, arrays: dict[str, np.ndarray], chosen: list[str], reading: Reading
) -> list[Episode]:
    """The episodes of a file, whose rows lie one after the other."""
    index = arrays["episode_index"]
    starts = np.flatnonzero(np.diff(index, prepend=index[:1] - 1))
    names = index[starts]
    if len(np.unique(names)) < len(names) or len(names) > _MOST_EPISODES:
        raise ValueError(f"{file}: the rows of an episode do not follow one another: sort them")
    found = []
    for number, rows in zip(names, np.split(np.arange(len(index)), starts[1:]), strict=True):
        if not rows.size:
            continue
        one = {name: values[rows] for name, values in arrays.items()}
        name = f"episode {number} in {file.parent.name}/{file.name}"
        is_last = np.arange(len(rows)) == len(rows) - 1
        states = {part: one[part] for part in chosen}
        fields = {
            "observations": side_by_side(states, source=f"{file}: {name}"),
            "actions": one["action"].reshape(len(rows), -1),
            **_earned(one, is_last, reading),
            "terminals": is_last,
        }
        found.append(Episode(name, fields))
    return found


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
