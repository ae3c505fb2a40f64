"""Episodes in Minari's HDF5, Arrow and Parquet files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from floq.data.files import rewarded
from floq.data.formats import hdf5, pictures, tables
from floq.data.formats.episodes import Episode, observed
from floq.data.formats.spaces import Leaf, encoded

_STEPS = ("rewards", "terminations", "truncations")
_SUCCESSES = ("success", "is_success")


def from_hdf5(
    path: Path, total: int, chosen: dict[str, Leaf], by_success: bool
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
                    parts[part] = pictures.decoded(inner.cells(last), leaf.shape[:2], source=where)
                else:
                    parts[part] = inner.array(last)
            steps = {field: group.array(field) for field in _STEPS}
            if by_success:
                infos = group.group("infos").names() if "infos" in group else []
                told = _success_of(infos, source=f"{path}: {name}")
                steps["successes"] = _of_steps(group.group("infos").array(told), steps)
            yield _episode(path, name, parts, group.array("actions"), steps, chosen)


def from_table(path: Path, chosen: dict[str, Leaf], by_success: bool) -> Episode:
    """The episode of an Arrow or Parquet file; arguments and errors as `from_hdf5`."""
    table = tables.read(path)
    parts = {}
    for part, leaf in chosen.items():
        column = f"observations/{part}".removesuffix("/")
        if _is_compressed(table, column, leaf):
            where = f"{path}: {column}"
            parts[part] = pictures.decoded(table.cells(column), leaf.shape[:2], source=where)
        else:
            parts[part] = table.array(column, leaf.shape)
    # Steps of a table have a last row of padding, as the rows of floq's arrays do.
    steps = {field: table.array(field, ())[:-1] for field in _STEPS}
    name = f"episode {path.parent.name}"
    if by_success:
        told = _success_of(table.fields("infos"), source=f"{path}: {name}")
        steps["successes"] = _of_steps(table.array(f"infos/{told}", ()), steps)
    return _episode(path, name, parts, table.array("actions", None)[:-1], steps, chosen)


def _is_compressed(place: hdf5.Group | tables.Table, name: str, leaf: Leaf) -> bool:
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
