"""Minari's folders: HDF5, Arrow or Parquet beside a metadata.json that describes the spaces."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.files import asks_for_success, rewarded
from floq.data.formats import hdf5, pictures, tables
from floq.data.formats.episodes import Episode, Stream, chosen_parts, observed
from floq.data.reading import Reading
from floq.disk import read_json, user_path

OPTIONS = ("observation_keys", "rewards")
_MAIN = "main_data.hdf5"
_TABLES = ("arrow", "parquet")
_MOST_EPISODES = 10_000_000
_STEPS = ("rewards", "terminations", "truncations")
_SUCCESSES = ("success", "is_success")


class _Leaf(NamedTuple):
    """A space without parts.

    Attributes:
        shape: Of a value.
        dtype: Of its entries.
        choices: Of a discrete one, how many there are.
        start: And the first of them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    choices: int = 0
    start: int = 0


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
    leaves = _leaves_of(_space_of(metadata, "observation_space", source), source)
    bounds = _bounds_of(_space_of(metadata, "action_space", source), source)
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
        episodes = _from_hdf5(folder / _MAIN, total, chosen, by_success)
    elif kind in _TABLES:
        files = (folder / str(index) / f"part-0.{kind}" for index in range(total))
        episodes = (_from_table(file, chosen, by_success) for file in files)
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


def _space_of(metadata: dict[str, Any], name: str, source: str) -> dict[str, Any]:
    """A space of the metadata, which holds JSON in a text.

    Raises:
        ValueError: If there is none.
    """
    try:
        space = json.loads(metadata[name])
        if isinstance(space, dict):
            return space
        raise TypeError("it is no object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{source}: {name} cannot be read ({type(error).__name__}: {error}): it is damaged"
        ) from error


def _leaves_of(space: dict[str, Any], source: str, prefix: str = "") -> dict[str, _Leaf]:
    """The spaces that observations are made of, by name; "" where there is only one."""
    kind = space.get("type")
    where = f"{source}: observation_space{f', {prefix}' if prefix else ''}"
    try:
        if kind in ("Dict", "Tuple"):
            inner = space["subspaces"]
            if kind == "Tuple":
                inner = {f"_index_{index}": part for index, part in enumerate(inner)}
            if prefix.count("/") > 8 or any("/" in name or not name for name in inner):
                raise ValueError("its parts are too deep, or have no names, or / in them")
            found: dict[str, _Leaf] = {}
            for name, part in inner.items():
                found |= _leaves_of(part, source, f"{prefix}/{name}".removeprefix("/"))
            return found
        if kind in ("Box", "MultiBinary"):
            shape = space["shape"] if kind == "Box" else space["n"]
            shape = tuple(shape) if isinstance(shape, list) else (shape,)
            dtype = np.dtype(space["dtype"] if kind == "Box" else "int8")
            if all(type(size) is int and size > 0 for size in shape) and dtype.kind in "fiub":
                return {prefix: _Leaf(shape, dtype)}
            raise ValueError(f"its shape is {shape} and its dtype {dtype}")
        if kind == "Discrete":
            choices, start = space["n"], space.get("start", 0)
            if type(choices) is int and type(start) is int and 0 < choices <= 10_000:
                return {prefix: _Leaf((), np.dtype("int64"), choices, start)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    raise ValueError(f"{where} is {kind!r}: floq reads Box, MultiBinary, Discrete, Dict and Tuple")


def _bounds_of(space: dict[str, Any], source: str) -> ActionBounds | None:
    """What actions lie within, of a box that has bounds."""
    if space.get("type") != "Box":
        raise ValueError(
            f"{source}: action_space is {space.get('type')!r}: give a Box (floq has no discrete "
            "actions)"
        )
    try:
        low, high = (np.ravel(space[side]).astype(np.float32) for side in ("low", "high"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source}: action_space has no bounds that can be read") from error
    if low.size != high.size or not (low.size and (low < high).all()):
        raise ValueError(
            f"{source}: action_space has a lower bound that is not below its upper one"
        )
    if not np.isfinite(low).all() or not np.isfinite(high).all():
        return None
    return ActionBounds(tuple(low.tolist()), tuple(high.tolist()))


def _encoded(values: np.ndarray, leaf: _Leaf) -> np.ndarray:
    """Values as FlattenObservation gives them: of discrete ones a 1 in the place of each."""
    if not leaf.choices:
        return values
    return (values[:, None] - leaf.start == np.arange(leaf.choices)).astype(np.float32)


def _from_hdf5(
    path: Path, total: int, chosen: dict[str, _Leaf], by_success: bool
) -> Iterator[Episode]:
    """The episodes of an HDF5 file, in the order of their numbers.

    Args:
        path: The file.
        total: How many there are.
        chosen: The parts of an observation that are read.
        by_success: Whether rewards follow from the success that infos tell.

    Raises:
        ValueError: The file is damaged, or lacks something.
    """
    with hdf5.opened(path) as file:
        # By number, since the names sort as text.
        for index in range(total):
            name = f"episode_{index}"
            group = file.group(name)
            parts = {}
            for part, leaf in chosen.items():
                *folders, last = f"observations/{part}".removesuffix("/").split("/")
                inner = group
                for folder in folders:
                    inner = inner.group(folder)
                if _is_compressed(inner, last, leaf):
                    where = f"{path}: {inner.name}/{last}"
                    cells, size = inner.cells(last), leaf.shape[:2]
                    parts[part] = pictures.decoded(cells, size, source=where)
                else:
                    parts[part] = inner.array(last)
            steps = {field: group.array(field) for field in _STEPS}
            if by_success:
                infos = group.group("infos").names() if "infos" in group else []
                told = _success_of(infos, source=f"{path}: {name}")
                steps["successes"] = _of_steps(group.group("infos").array(told), steps)
            yield _episode(path, name, parts, group.array("actions"), steps, chosen)


def _from_table(path: Path, chosen: dict[str, _Leaf], by_success: bool) -> Episode:
    """The episode of an Arrow or Parquet file; arguments and errors as `_from_hdf5`."""
    table = tables.read(path)
    parts = {}
    for part, leaf in chosen.items():
        column = f"observations/{part}".removesuffix("/")
        if _is_compressed(table, column, leaf):
            cells, where = table.cells(column), f"{path}: {column}"
            parts[part] = pictures.decoded(cells, leaf.shape[:2], source=where)
        else:
            parts[part] = table.array(column, leaf.shape)
    # Steps of a table have a last row of padding, as the rows of floq's arrays do.
    steps = {field: table.array(field, ())[:-1] for field in _STEPS}
    name = f"episode {path.parent.name}"
    if by_success:
        told = _success_of(table.fields("infos"), source=f"{path}: {name}")
        steps["successes"] = _of_steps(table.array(f"infos/{told}", ()), steps)
    return _episode(path, name, parts, table.array("actions", None)[:-1], steps, chosen)


def _is_compressed(place: hdf5.Group | tables.Table, name: str, leaf: _Leaf) -> bool:
    """Whether it holds images as JPEG, as Minari keeps them unless told otherwise."""
    return len(leaf.shape) == 3 and leaf.shape[-1] == 3 and place.holds_bytes(name)


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
    chosen: dict[str, _Leaf],
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
    flat = {part: _encoded(values, chosen[part]) for part, values in parts.items()}
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
