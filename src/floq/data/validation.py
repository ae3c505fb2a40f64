"""Checks of offline data before anything is learned from it.

Every fault is a `ValueError` that names the source, the field, the first row, the value and the
way out. The checks read the arrays in pieces, so they need little memory beside them.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.memory import PIECE, pieces
from floq.observations import refuse_hidden

ACTION_TOLERANCE = 1e-4
"""How far beyond [-1, 1] an action may lie, for rounding."""


class RowError(ValueError):
    """A row of arrays breaks a rule.

    Attributes:
        row: The first such row.
    """

    def __init__(self, message: str, row: int):
        super().__init__(message)
        self.row = row


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
_NEAR = 1e-3
"""Actions this close to -1 and 1 reach them, as those that were clipped or rescaled do."""
_UNITS = ActionBounds((-1.0,), (1.0,))


def check_arrays(
    arrays: Mapping[str, Any], *, source: str, bounds: ActionBounds | None = None
) -> dict[str, np.ndarray]:
    """Refuse arrays that are not sound offline data.

    Args:
        arrays: By field: observations, next_observations, actions, qpos, qvel, button_states
            (rows, entries); rewards, masks, terminals, ends (rows,). Whichever are given are
            checked; observations must be among them.
        source: What the data is called in messages: a file, or the caller.
        bounds: What the actions lie within; [-1, 1] if nobody has said.

    Returns:
        The same as numpy arrays, not copied where they are such.

    Raises:
        ValueError: Objects or text in place of numbers, masked entries, a wrong number of
            dimensions, lengths that differ, no rows, NaN, infinity or a number too large for
            float32, an action outside its bounds, a flag other than 0 and 1, or terminals whose
            last row is not 1.
    """
    checked = {field: _as_array(values, field, source) for field, values in arrays.items()}
    check_forms(checked, source=source)
    for field, values in checked.items():
        check = FieldCheck(field, values.shape, values.dtype, source=source, bounds=bounds)
        for piece in pieces(values):
            check.look(piece)
        check.settle()
    return checked


def check_and_rescale(
    arrays: Mapping[str, Any], *, source: str, given: ActionBounds | None
) -> tuple[dict[str, np.ndarray], ActionBounds | None]:
    """Sound arrays with actions in [-1, 1], and what these stand for, if somebody has said.

    Args:
        arrays: As `check_arrays` takes them, with actions.
        source: What the data is called in messages.
        given: The bounds of the actions, which are in the environment's units then; else None.

    Raises:
        ValueError: As `check_arrays` does.
    """
    checked = check_arrays(arrays, source=source, bounds=given)
    if given is None:
        return checked, None
    actions = checked["actions"]
    bounds = given.each(actions.shape[1], source=source)
    least, most = actions.min(axis=0), actions.max(axis=0)
    is_clipped = (np.abs(least + 1) < _NEAR).all() and (np.abs(most - 1) < _NEAR).all()
    if is_clipped and (np.array(bounds.high) - np.array(bounds.low) > 2 + _NEAR).all():
        warnings.warn(
            f"{source}: actions reach from -1 to 1, and the bounds {bounds} were given, from which "
            "they are rescaled: if somebody rescaled them before, leave the bounds out",
            UserWarning,
            stacklevel=3,
        )
    rescaled = np.empty(actions.shape, np.float32)
    for start in range(0, len(actions), PIECE):
        rescaled[start : start + PIECE] = bounds.to_unit(actions[start : start + PIECE])
    checked["actions"] = rescaled
    return checked, bounds


def check_forms(arrays: Mapping[str, np.ndarray], *, source: str) -> None:
    """Refuses fields whose types and shapes are not those of offline data, or do not agree.

    Args:
        arrays: As `check_arrays` takes them; their values are not read.
        source: What the data is called in messages.

    Raises:
        ValueError: If there are such.
    """
    observations = arrays["observations"]
    for field, values in arrays.items():
        _check_form(values, field, rows=observations.shape[:1], source=source)
    following = arrays.get("next_observations", observations)
    if following.shape[1] != observations.shape[1]:
        raise ValueError(
            f"{source}: next_observations has {following.shape[1]} entries a row and observations "
            f"has {observations.shape[1]}: both must describe the same state"
        )


class FieldCheck:
    """The rules that each row of a field obeys, which it is shown piece by piece."""

    def __init__(
        self,
        field: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        source: str,
        bounds: ActionBounds | None = None,
    ):
        """Nothing is seen yet.

        Args:
            field: One that `check_arrays` knows.
            shape: Of all pieces together.
            dtype: Of the values.
            source: What the data is called in messages.
            bounds: What actions lie within; [-1, 1] if nobody has said.
        """
        self._source, self._rows = source, shape[0]
        self._last: Any = None
        self._ends = 0
        self._is_terminals = field == "terminals"
        where = f"{source}: {field}"
        self._rules = list[_Rule]()
        if dtype.kind == "f":
            finite = f"{where} must be finite and within the range of float32"
            way_out = "repair or leave out the trajectories with such rows"
            self._rules.append(_Rule(_beyond_float32, finite, way_out, self._rows))
        if field in _FLAGS:
            way_out = (
                "masks are 1 - terminated"
                if field == "masks"
                else "1 marks the end of a trajectory"
            )
            rule = f"{where} must be 0 or 1"
            is_bad = lambda piece: (piece != 0) & (piece != 1)
            self._rules.append(_Rule(is_bad, rule, way_out, self._rows))
        if field == "actions":
            self._rules.append(_action_rule(shape, bounds, source=source))

    def look(self, piece: np.ndarray) -> None:
        """Takes in the next rows."""
        for rule in self._rules:
            rule.look(piece)
        if self._is_terminals:
            self._last, self._ends = piece[-1], self._ends + int(np.count_nonzero(piece))

    def settle(self) -> None:
        """Says what is wrong, once all rows are seen.

        Raises:
            ValueError: If a row breaks a rule.
        """
        for rule in self._rules:
            rule.settle()
        if self._is_terminals and self._last != 1:
            raise ValueError(
                f"{self._source}: terminals is {self._last} at the last row, {self._rows - 1}, "
                f"with {self._ends or 'no'} end{'' if self._ends == 1 else 's'} before it: the "
                "last row of each trajectory must be 1, also where a time limit ended it (of "
                "D4RL's fields give terminals | timeouts); or the data was cut short"
            )


def _as_array(values: Any, field: str, source: str) -> np.ndarray:
    refuse_hidden(values, f"{source}: {field}")
    try:
        return np.asarray(values)
    # What other libraries' arrays raise differs: a tensor on a GPU, or one that has a gradient.
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{source}: {field} is no array: {error}. Give one array of numbers, with rows of "
            "equal length"
        ) from error


def _check_form(values: np.ndarray, field: str, *, rows: tuple[int, ...], source: str) -> None:
    where = f"{source}: {field}"
    kind = values.dtype.kind
    if kind in "OV":
        raise ValueError(f"{where} {_in_words(values)}")
    if kind not in ("f" if field == "actions" else "fiub"):
        wanted = "floats" if field == "actions" else "numbers"
        raise ValueError(
            f"{where} has the dtype {values.dtype}, where {wanted} are needed: convert "
            "it to float32"
            + (" (floq has no discrete actions)" if field == "actions" and kind in "iu" else "")
        )
    wanted = _DIMENSIONS[field]
    if values.ndim != wanted:
        raise ValueError(
            f"{where} has the shape {values.shape}, where {_SHAPES[wanted]} is needed: "
            f"{_reshaped(values, field, wanted)}"
        )
    if rows and len(values) != rows[0]:
        raise ValueError(
            f"{where} has {len(values)} rows and observations has {rows[0]}: each field "
            "needs one row for every observation"
        )
    if values.size == 0:
        raise ValueError(f"{where} is empty, with the shape {values.shape}: give at least one row")


def _in_words(values: np.ndarray) -> str:
    """What an array of Python objects or of named fields is, and what to do about it."""
    first = values.flat[0] if values.dtype.kind == "O" and values.size else None
    if isinstance(first, Mapping) or values.dtype.names:
        return (
            "is a dictionary, where one array (rows, entries) is needed: put its parts side by "
            "side, as numpy.concatenate([…], axis=1) does, and wrap the environment in "
            "gymnasium.wrappers.FlattenObservation, which puts them in the order of its space"
        )
    if values.ndim == 0 and first is None:
        return "is None, where an array is needed: give it"
    return (
        "holds Python objects: give one plain array of numbers, with all rows of equal length; "
        "of a tuple of arrays put the parts side by side, as "
        "gymnasium.wrappers.FlattenObservation does"
    )


def _reshaped(values: np.ndarray, field: str, wanted: int) -> str:
    """How to bring an array into the form that is needed."""
    if wanted == 1 and values.ndim == 2 and values.shape[1] == 1:
        return f"give {field}[:, 0]"
    if wanted == 2 and values.ndim == 1:
        return f"with one entry a row, give {field}[:, None]"
    if wanted == 2 and values.ndim > 2:
        return (
            "flatten each row, or give images as (rows, height, width, channels); of several "
            "environments or episodes, put one after the other"
        )
    return "give one number for each row, trajectory after trajectory"


def _action_rule(shape: tuple[int, ...], bounds: ActionBounds | None, *, source: str) -> "_Rule":
    limits = (bounds or _UNITS).each(shape[1], source=source)
    if bounds is None:
        way_out = (
            "give the environment's bounds as action_low= and action_high=, or its action_space=, "
            "and floq will rescale the actions to this range"
        )
    else:
        way_out = "these are the bounds that were given, in the units of the actions: correct them"
    return _Rule(
        lambda piece: np.abs(limits.to_unit(piece)) > 1 + ACTION_TOLERANCE,
        f"{source}: actions must lie within {limits}",
        way_out,
        shape[0],
    )


def _beyond_float32(piece: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return ~np.isfinite(piece.astype(np.float32, copy=False))


class _Rule:
    """Something that holds for no sound value; counts the rows where it does."""

    def __init__(
        self, is_bad: Callable[[np.ndarray], np.ndarray], rule: str, way_out: str, rows: int
    ):
        self._is_bad, self._rule, self._way_out, self._rows = is_bad, rule, way_out, rows
        self._seen = self._count = 0
        self._first, self._value = -1, None

    def look(self, piece: np.ndarray) -> None:
        bad = self._is_bad(piece)
        if bad.any():
            bad_rows = bad.reshape(len(bad), -1).any(axis=1)
            if self._count == 0:
                row = int(bad_rows.argmax())
                self._first, self._value = self._seen + row, piece[row][bad[row]].flat[0]
            self._count += int(bad_rows.sum())
        self._seen += len(piece)

    def settle(self) -> None:
        """Raises with the first bad row and the number of them."""
        if self._count:
            raise RowError(
                f"{self._rule}: row {self._first} holds {self._value}, and {self._count} "
                f"row{'s' * (self._count > 1)} of {self._rows} break this: {self._way_out}",
                self._first,
            )
