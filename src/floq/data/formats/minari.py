"""Minari's folders: HDF5, Arrow or Parquet beside a metadata.json that describes the spaces."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from floq.data.files import DatasetFile, asks_for_success, rewarded
from floq.data.formats import hdf5, tables
from floq.data.formats.episodes import Episode, Stream, chosen_parts, observed, together
from floq.data.formats.kinds import HDF5, signature
from floq.data.formats.spaces import Leaf, bounds_of, encoded, leaves_of, space_of
from floq.data.reading import Reading
from floq.disk import read_json, user_path

OPTIONS = ("observation_keys", "rewards")
_MAIN = "main_data.hdf5"
_STEPS = ("rewards", "terminations", "truncations")
_SUCCESSES = ("success", "is_success")
_TABLES = ("arrow", "parquet")
_MOST_EPISODES = 10_000_000
_LEAST_JPEG = 32
"""Pixels of a side from which on Minari takes bytes for an image."""


def locate(name: str) -> Path:
    """Where Minari keeps a set: `$MINARI_DATASETS_PATH`, or .minari/datasets at home."""
    return user_path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets") / name


def recognises(path: Path) -> bool:
    """Whether it is a folder with Minari's metadata, or the main file of one."""
    if path.is_dir():
        return _data_folder(path) is not None
    return signature(path) == HDF5 and "episode_0" in hdf5.first_names(path)


def read(path: Path, reading: Reading) -> DatasetFile:
    """Episodes with a row for each one's last state, and the action space's bounds.

    Raises:
        ValueError: The files are damaged, or hold what floq cannot take.
        MissingExtraError: h5py or pyarrow is not installed.
    """
    return together(stream(path, reading))


def stream(path: Path, reading: Reading) -> Stream:
    """The episodes as they come, each with a row for its last state.

    Raises:
        ValueError: The metadata is damaged, or says what floq cannot take.
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
    images = [name for name, leaf in chosen.items() if _is_jpeg(leaf)]
    if kind in _TABLES and images and metadata.get("jpeg_encoding", True):
        raise ValueError(
            f"{source}: {images[0] or 'an observation'} is stored as JPEG, which floq does not "
            "read: have minari write the set with data_format='hdf5' or jpeg_encoding=False, or "
            "choose other parts by observation_keys (--observation-keys)"
        )
    if kind == "hdf5":
        episodes = _from_hdf5(folder / _MAIN, total, chosen, by_success)
    elif kind in _TABLES:
        files = (folder / str(index) / f"part-0.{kind}" for index in range(total))
        episodes = (_from_table(file, chosen, by_success) for file in files)
    else:
        raise ValueError(f"{source}: data_format is {kind!r}: floq reads hdf5, arrow and parquet")
    where = folder / _MAIN if kind == "hdf5" else folder
    return Stream(where, episodes, total, layout="states", bounds=bounds)


def _is_jpeg(leaf: Leaf) -> bool:
    """Whether Minari compresses such images where it may."""
    return leaf.dtype == np.uint8 and len(leaf.shape) == 3 and min(leaf.shape[:2]) >= _LEAST_JPEG


def _data_folder(path: Path) -> Path | None:
    """The folder of the metadata, of a set's own folder or of that one."""
    for folder in (path / "data", path):
        if (folder / "metadata.json").is_file():
            parts = [folder / "0" / f"part-0.{kind}" for kind in _TABLES]
            if any(part.exists() for part in (folder / _MAIN, *parts)):
                return folder
    return None


def _from_hdf5(
    path: Path, total: int, chosen: dict[str, Leaf], by_success: bool
) -> Iterator[Episode]:
    with hdf5.opened(path) as file:
        # By number, since the names sort as text.
        for index in range(total):
            name = f"episode_{index}"
            group = file.group(name)
            parts = {}
            for part in chosen:
                *folders, last = f"observations/{part}".removesuffix("/").split("/")
                inner = group
                for folder in folders:
                    inner = inner.group(folder)
                parts[part] = inner.array(last)
            steps = {field: group.array(field) for field in _STEPS}
            if by_success:
                infos = group.group("infos").names() if "infos" in group else []
                told = _success_of(infos, source=f"{path}: {name}")
                steps["successes"] = _of_steps(group.group("infos").array(told), steps)
            yield _episode(path, name, parts, group.array("actions"), steps, chosen)


def _from_table(path: Path, chosen: dict[str, Leaf], by_success: bool) -> Episode:
    table = tables.read(path)
    parts = {
        part: table.array(f"observations/{part}".removesuffix("/"), leaf.shape)
        for part, leaf in chosen.items()
    }
    # Steps of a table have a last row of padding, as the rows of floq's arrays do.
    steps = {field: table.array(field, ())[:-1] for field in _STEPS}
    name = f"episode {path.parent.name}"
    if by_success:
        told = _success_of(table.fields("infos"), source=f"{path}: {name}")
        steps["successes"] = _of_steps(table.array(f"infos/{told}", ()), steps)
    return _episode(path, name, parts, table.array("actions", None)[:-1], steps, chosen)


def _success_of(infos: Sequence[str], *, source: str) -> str:
    """Which of an episode's infos says whether the task is solved."""
    for name in _SUCCESSES:
        if name in infos:
            return name
    raise ValueError(
        f"{source}: infos hold neither success nor is_success, of which rewards='success' follow; "
        f"there is {', '.join(infos) or 'none'}: leave rewards out, or collect with record_infos"
    )


def _of_steps(told: np.ndarray, steps: dict[str, np.ndarray]) -> np.ndarray:
    """What infos say of steps: those that Minari collects begin with the reset's."""
    length = len(told)
    told = told.reshape(length) if told.size == length else told
    return told[1:] if length == steps["rewards"].size + 1 else told


def _episode(
    path: Path,
    name: str,
    parts: dict[str, np.ndarray],
    actions: np.ndarray,
    steps: dict[str, np.ndarray],
    chosen: dict[str, Leaf],
) -> Episode:
    """An episode of T steps as T + 1 rows, the last one without an action."""
    length = len(steps["rewards"]) if steps["rewards"].ndim else 0
    for field, values in {"actions": actions, **steps}.items():
        if values.shape[:1] != (length,) or (field != "actions" and values.ndim != 1) or not length:
            raise ValueError(
                f"{path}: {name}: {field} has the shape {values.shape}, and rewards have {length} "
                "rows: each needs one row a step, of one step or more"
            )
    for part, values in parts.items():
        shape = chosen[part].shape
        if values.shape != (length + 1, *shape):
            raise ValueError(
                f"{path}: {name}: observations{f'/{part}' if part else ''} has the shape "
                f"{values.shape}, where {(length + 1, *shape)} is due: one row more than there are "
                "steps, of the shape of its space"
            )
    flat = {part: encoded(values, chosen[part]) for part, values in parts.items()}
    cut = np.flatnonzero(steps["terminations"][:-1] | steps["truncations"][:-1])
    if cut.size:
        raise ValueError(
            f"{path}: {name}: terminations or truncations are true at row {cut[0]}, before its "
            f"last step, {length - 1}: an episode ends once"
        )
    states, form = observed(flat, source=f"{path}: {name}")
    actions = actions.reshape(length, -1)
    earned = {"rewards": steps["rewards"], "masks": 1.0 - steps["terminations"]}
    if "successes" in steps:
        told = f"{path}: {name}: the success of infos"
        earned = rewarded(steps["successes"], earned["masks"], source=told)
    arrays = {
        "observations": states,
        "actions": np.concatenate([actions, np.zeros_like(actions[:1])]),
        "rewards": np.append(earned["rewards"], 0.0),
        "masks": np.append(earned["masks"], 1.0),
        "terminals": np.arange(length + 1) == length,
    }
    return Episode(name, arrays, form)
