"""Minari's folders: HDF5, Arrow or Parquet beside a metadata.json that describes the spaces."""

import os
from pathlib import Path

from floq.data.files import asks_for_success
from floq.data.formats import hdf5
from floq.data.formats.episodes import Stream, chosen_parts
from floq.data.formats.minari_episodes import from_hdf5, from_table
from floq.data.formats.spaces import bounds_of, leaves_of, space_of
from floq.data.reading import Reading
from floq.disk import read_json, user_path

OPTIONS = ("observation_keys", "rewards")
_MAIN = "main_data.hdf5"
_TABLES = ("arrow", "parquet")
_MOST_EPISODES = 10_000_000


def locate(name: str) -> Path:
    """Where Minari keeps a set: `$MINARI_DATASETS_PATH`, or .minari/datasets at home."""
    return user_path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets") / name


def recognises(path: Path) -> bool:
    """Whether it is a folder with Minari's metadata, or the main file of one."""
    if path.is_dir():
        return _data_folder(path) is not None
    return "episode_0" in hdf5.first_names(path)


def stream(path: Path, reading: Reading) -> Stream:
    """The episodes as they come, each with a row for its last state, and the action space's bounds.

    Raises:
        ValueError: The metadata or, as they come, an episode is damaged, or holds what floq cannot
            take.
        MissingExtraError: As they come, h5py or pyarrow is not installed.
    """
    folder = path.parent if path.is_file() else _data_folder(path)
    if folder is None or not (folder / "metadata.json").is_file():
        raise ValueError(
            f"{path}: there is no data/metadata.json, which says what spaces Minari's files have: "
            "give the folder of the set, which minari keeps as NAMESPACE/NAME-vN"
        )
    metadata = read_json(folder / "metadata.json")
    source = str(folder / "metadata.json")
    total = metadata.get("total_episodes") if isinstance(metadata, dict) else None
    if type(total) is not int or not 0 < total <= _MOST_EPISODES:
        raise ValueError(
            f"{source}: total_episodes is {total!r}: it must be a whole number above 0"
        )
    leaves = leaves_of(space_of(metadata, "observation_space", source), source)
    bounds = bounds_of(space_of(metadata, "action_space", source), source)
    forms = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
    if reading.observation_keys and forms.keys() == {""}:
        raise ValueError(
            f"{source}: observation_keys is {reading.observation_keys}, and an observation is one "
            "array without parts: leave it out"
        )
    chosen = {name: leaves[name] for name in chosen_parts(forms, reading, source=source)}
    by_success = asks_for_success(reading, source=source)
    kind = metadata.get("data_format", "hdf5")
    if kind == "hdf5":
        episodes = from_hdf5(folder / _MAIN, total, chosen, by_success)
    elif kind in _TABLES:
        files = (folder / str(index) / f"part-0.{kind}" for index in range(total))
        episodes = (from_table(file, chosen, by_success) for file in files)
    else:
        raise ValueError(f"{source}: data_format is {kind!r}: floq reads hdf5, arrow and parquet")
    where = folder / _MAIN if kind == "hdf5" else folder
    return Stream(where, episodes, total, layout="states", bounds=bounds)


def _data_folder(path: Path) -> Path | None:
    """The folder of the metadata, of a set's own folder or of that one."""
    for folder in (path / "data", path):
        if (folder / "metadata.json").is_file():
            parts = [folder / "0" / f"part-0.{kind}" for kind in _TABLES]
            if any(part.exists() for part in (folder / _MAIN, *parts)):
                return folder
    return None
