"""Checks of offline data before anything is learned from it.

Every fault is a `ValueError` that names the source, the field, the first row, the value and the
way out. The checks read the arrays in pieces, so they need little memory beside them.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

ACTION_TOLERANCE = 1e-4
"""How far beyond [-1, 1] an action may lie, for rounding."""

_DIMENSIONS = {
    "observations": 2,
    "next_observations": 2,
    "actions": 2,
    "qpos": 2,
    "qvel": 2,
    "button_states": 2,
    "rewards": 1,
    "masks": 1,
    "terminals": 1,
    "ends": 1,
}
_FLAGS = ("masks", "terminals", "ends")
_SHAPES = {1: "(rows,)", 2: "(rows, entries)"}
_PIECE = 65_536


def check_arrays(arrays: Mapping[str, ArrayLike], *, source: str) -> dict[str, np.ndarray]:
    """Refuse arrays that are not sound offline data.

    Args:
        arrays: By field: observations, next_observations, actions, qpos, qvel, button_states
            (rows, entries); rewards, masks, terminals, ends (rows,). Whichever are given are
            checked; observations must be among them.
        source: What the data is called in messages: a file, or the caller.

    Returns:
        The same as numpy arrays, not copied where they are such.

    Raises:
        ValueError: Objects or text in place of numbers, a wrong number of dimensions, lengths that
            differ, no rows, NaN, infinity or a number too large for float32, an action outside
            [-1, 1], a flag other than 0 and 1, or terminals whose last row is not 1.
    """
    checked = {field: _as_array(values, field, source) for field, values in arrays.items()}
    observations = checked["observations"]
    for field, values in checked.items():
        _check_form(values, field, rows=observations.shape[:1], source=source)
    if "next_observations" in checked:
        _check_width(checked["next_observations"], observations, source=source)
    for field, values in checked.items():
        _check_values(values, field, source=source)
    if "terminals" in checked:
        _check_terminals(checked["terminals"], source=source)
    return checked


def _as_array(values: ArrayLike, field: str, source: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{source}: {field} is no array: {error}. Give rows of equal length"
        ) from error


def _check_form(values: np.ndarray, field: str, *, rows: tuple[int, ...], source: str) -> None:
    kind = values.dtype.kind
    if kind == "O":
        raise ValueError(
            f"{source}: {field} holds Python objects: give one plain array of numbers, with all "
            "rows of equal length"
        )
    if kind not in ("f" if field == "actions" else "fiub"):
        wanted = "floats" if field == "actions" else "numbers"
        raise ValueError(
            f"{source}: {field} has the dtype {values.dtype}, where {wanted} are needed: convert "
            "it to float32"
            + (" (floq has no discrete actions)" if field == "actions" and kind in "iu" else "")
        )
    wanted = _DIMENSIONS[field]
    if values.ndim != wanted:
        raise ValueError(
            f"{source}: {field} has the shape {values.shape}, where {_SHAPES[wanted]} is needed"
            + (": flatten each row, images are not supported" if values.ndim > 2 else "")
        )
    if rows and len(values) != rows[0]:
        raise ValueError(
            f"{source}: {field} has {len(values)} rows and observations has {rows[0]}: each field "
            "needs one row for every observation"
        )
    if values.size == 0:
        raise ValueError(f"{source}: {field} is empty, with the shape {values.shape}")


def _check_width(following: np.ndarray, observations: np.ndarray, *, source: str) -> None:
    if following.shape[1] != observations.shape[1]:
        raise ValueError(
            f"{source}: next_observations has {following.shape[1]} entries a row and observations "
            f"has {observations.shape[1]}: both must describe the same state"
        )


def _check_values(values: np.ndarray, field: str, *, source: str) -> None:
    where = f"{source}: {field}"
    if values.dtype.kind == "f":
        _refuse(
            values,
            _beyond_float32,
            f"{where} must be finite and within the range of float32",
            "repair or leave out the trajectories with such rows",
        )
    if field == "actions":
        _refuse(
            values,
            lambda piece: np.abs(piece) > 1 + ACTION_TOLERANCE,
            f"{where} must lie within [-1, 1]",
            "rescale the actions to this range, and let the environment undo it",
        )
    if field in _FLAGS:
        _refuse(
            values,
            lambda piece: (piece != 0) & (piece != 1),
            f"{where} must be 0 or 1",
            "masks are 1 - terminated" if field == "masks" else "1 marks the end of a trajectory",
        )


def _check_terminals(terminals: np.ndarray, *, source: str) -> None:
    last = len(terminals) - 1
    if terminals[last] == 1:
        return
    found = int(np.count_nonzero(terminals))
    raise ValueError(
        f"{source}: terminals is {terminals[last]} at the last row, {last}, with "
        f"{found or 'no'} end{'' if found == 1 else 's'} before it: the last row of each "
        "trajectory must be 1; the file may be cut short"
    )


def _beyond_float32(piece: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return ~np.isfinite(piece.astype(np.float32, copy=False))


def _refuse(
    values: np.ndarray, is_bad: Callable[[np.ndarray], np.ndarray], rule: str, way_out: str
) -> None:
    """Raise if `is_bad` holds for any value, with the first such row and the number of them."""
    first, value, count = -1, None, 0
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        bad = is_bad(piece)
        if not bad.any():
            continue
        bad_rows = bad.reshape(len(bad), -1).any(axis=1)
        if count == 0:
            row = int(bad_rows.argmax())
            first, value = start + row, piece[row][bad[row]].flat[0]
        count += int(bad_rows.sum())
    if count:
        raise ValueError(
            f"{rule}: row {first} holds {value}, and {count} row{'s' * (count > 1)} of "
            f"{len(values)} break this: {way_out}"
        )
