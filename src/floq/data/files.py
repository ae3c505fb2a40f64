"""npz files of datasets: what anybody wrote, what floq saved, and OGBench's without rewards.

A file of one's own holds the arguments of `Dataset.from_trajectories` or of
`Dataset.from_transitions` by their names, and maybe the bounds of its actions. One that floq saved
has a `version` too, which says that last rows are states and that actions lie in [-1, 1] already,
whatever bounds are recorded beside them. Observations that are dictionaries are an array for each
part, called observations/PART.
"""

import itertools
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.bounds import ActionBounds, action_bounds
from floq.data.npz import array_names, read_arrays
from floq.data.reading import Layout, Reading
from floq.disk import sync, sync_path, writing
from floq.observations import flat, nested

_VERSION = 1
_VALUES = ("rewards", "masks")
SIMULATION = ("qpos", "qvel", "button_states")
"""Fields of OGBench's files that are not learned from."""
_OPTIONAL = (*_VALUES, "terminals", "next_observations", "ends", *SIMULATION)
_MARKS = ("action_low", "action_high", "version")


class DatasetFile(NamedTuple):
    """What a file, or the files of a folder, hold.

    Attributes:
        arrays: By field, not checked: observations, which may be a dictionary or `Packed`, actions,
            and terminals or next_observations, likewise; rewards and masks, but for OGBench's
            files; ends, qpos, qvel and button_states where they are there.
        bounds: Of the actions, where the file has them.
        is_saved: Whether floq saved it, so that actions are rescaled.
        layout: What the last rows of trajectories are, where it is settled.
        place: The words for where a row of the arrays lies, where there are better ones than its
            number.
    """

    arrays: dict[str, Any]
    bounds: ActionBounds | None = None
    is_saved: bool = False
    layout: Layout | None = None
    place: Callable[[int], str] | None = None


def read_file(path: Path, *, is_by_success: bool = False) -> DatasetFile:
    """All that floq knows of a dataset file.

    Args:
        path: The file.
        is_by_success: Whether rewards follow from its successes, and need not be there.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, lacks a field, or has those of two layouts.
    """
    inner = parts_of(path)
    required = (*(inner["observations"] or ["observations"]), *inner["next_observations"])
    if is_by_success:
        required = (*required, "successes")
    arrays: dict[str, Any] = dict(
        read_arrays(path, required=(*required, "actions"), optional=_OPTIONAL)
    )
    for field, names in inner.items():
        if names:
            parts = {name.removeprefix(f"{field}/"): arrays.pop(name) for name in names}
            arrays[field] = nested(parts)
    if is_by_success:
        successes = arrays.pop("successes")
        masks = arrays.get("masks", np.ones(successes.shape[:1]))
        arrays |= rewarded(successes, masks, source=f"{path}: successes")
    marks = read_marks(path)
    _check_fields(arrays, path)
    layout = "states" if marks.is_saved and "terminals" in arrays else None
    return marks._replace(arrays=arrays, layout=layout)


def unread(path: Path, *, is_by_success: bool) -> list[str]:
    """The arrays of a dataset file that nothing is learned from."""
    names, parts = array_names(path), itertools.chain(*parts_of(path).values())
    known = {"observations", "actions", *_OPTIONAL, *_MARKS, *parts}
    if is_by_success:
        known ^= {"rewards", "successes"}
    if is_by_success or "rewards" in names:
        known -= {*SIMULATION}  # Where OGBench's rewards come from, and nobody else's.
    return [name for name in names if name not in known]


def asks_for_success(reading: Reading, *, source: str) -> bool:
    """Whether rewards are to follow from successes.

    Raises:
        ValueError: If they are to follow from something else.
    """
    if reading.rewards not in (None, "success"):
        raise ValueError(
            f"{source}: rewards is {reading.rewards!r}, which LeRobot's sets alone may have: give "
            "success, or leave it out for the rewards that are there"
        )
    return reading.rewards is not None


def advice_on_successes(path: Path) -> str:
    """The end of an error about a file without rewards: the way out, if it holds successes."""
    if not zipfile.is_zipfile(path) or "successes" not in array_names(path):
        return ""
    return '. It holds successes: rewards="success" (--rewards success) makes rewards of them'


def rewarded(successes: np.ndarray, masks: np.ndarray, *, source: str) -> dict[str, np.ndarray]:
    """Rewards and masks of rows by success: 1 where a step solves the task, and values end there.

    Args:
        successes: 1 in the rows whose step does, 0 elsewhere (rows,).
        masks: Where values end besides (rows,).
        source: What the successes are called in errors.

    Raises:
        ValueError: If they have another shape, or other values.
    """
    if successes.shape != masks.shape:
        raise ValueError(
            f"{source} has the shape {successes.shape}, where {masks.shape} is due: one number a "
            "row"
        )
    wrong = np.flatnonzero((successes != 0) & (successes != 1))
    if wrong.size:
        raise ValueError(
            f"{source} must be 1 in rows whose step solves the task and 0 elsewhere: row "
            f"{wrong[0]} holds {successes[wrong[0]]}"
        )
    return {"rewards": successes.astype(np.float32), "masks": masks * (1.0 - successes)}


def parts_of(path: Path) -> dict[str, list[str]]:
    """The arrays of a file that are parts of observations, and of next ones, in order.

    None where a field is one array.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or an array would be a part and hold parts.
    """
    names = {*array_names(path)}
    found = {
        field: sorted(name for name in names if name.startswith(f"{field}/"))
        for field in ("observations", "next_observations")
    }
    for name in itertools.chain(*found.values()):
        words = name.split("/")
        above = {"/".join(words[:depth]) for depth in range(1, len(words))} & names
        if above or "" in words:
            raise ValueError(
                f"{path}: {name} cannot be an array{f' beside {min(above)}' if above else ''}: "
                "give each part of a dictionary a name of its own"
            )
    return found


def read_marks(path: Path) -> DatasetFile:
    """What a dataset file says beside its rows: its bounds, and whether floq saved it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or of a version that this floq does not know.
    """
    found = read_arrays(path, required=(), optional=_MARKS)
    low, high, version = (found.get(name) for name in _MARKS)
    if version is not None and version.tolist() != _VERSION:
        raise ValueError(
            f"{path}: its version is {version.tolist()}, and this floq reads {_VERSION}: read it "
            "with the floq that saved it"
        )
    bounds = action_bounds(low, high, None, source=str(path))
    return DatasetFile({}, bounds, is_saved=version is not None)


def _check_fields(arrays: Mapping[str, Any], path: Path) -> None:
    """Refuses what is neither whole trajectories nor separate transitions."""
    held = f"it holds {', '.join(sorted(arrays))}"
    is_apart = "next_observations" in arrays
    if not is_apart and "terminals" not in arrays:
        raise ValueError(
            f"{path}: no array named terminals, nor next_observations; {held}: add terminals, 1 "
            "at the last row of each trajectory, or the next observation of each row"
        )
    if "terminals" in arrays and (is_apart or "ends" in arrays):
        raise ValueError(
            f"{path}: terminals beside next_observations or ends; {held}: whole trajectories have "
            "terminals alone. For separate transitions leave them out, and give masks "
            "(1 - terminated) and ends (1 where a trajectory ended for whatever reason)"
        )
    missing = [field for field in _VALUES if field not in arrays]
    if missing and (is_apart or len(missing) == 1):
        raise ValueError(
            f"{path}: no array named {' or '.join(missing)}; {held}: add it. Masks are "
            "1 - terminated: 0 where the next state has no value, and not at a time limit"
            + advice_on_successes(path)
        )


def write_file(
    path: Path,
    arrays: Mapping[str, Any],
    *,
    low: Sequence[float] | None,
    high: Sequence[float] | None,
) -> None:
    """Saves whole trajectories such that a crash leaves the former file or the new one.

    Args:
        path: The file.
        arrays: Observations, which may be a dictionary, actions in [-1, 1], rewards, masks and
            terminals.
        low: What -1 stands for in each entry of an action, if it is known.
        high: What 1 stands for, likewise.

    Raises:
        OSError: If the disk does not take it.
    """
    marks = {"version": np.array(_VERSION)}
    if low is not None and high is not None:
        marks |= {"action_low": np.array(low), "action_high": np.array(high)}
    named = flat({**marks, **arrays})
    write_arrays(path, {name: Pieces.of(values) for name, values in named.items()})


class Pieces(NamedTuple):
    """An array that comes some rows at a time.

    Attributes:
        shape: Of all of it.
        dtype: Of its numbers.
        rows: The pieces, in order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    rows: Iterable[np.ndarray]

    @classmethod
    def of(cls, values: np.ndarray) -> "Pieces":
        """An array that is there as a whole."""
        return cls(values.shape, values.dtype, [values])


def write_arrays(path: Path, arrays: Mapping[str, Pieces], *, is_compressed: bool = False) -> None:
    """Writes an npz file such that a crash leaves the former file or the new one.

    Equal arrays give equal bytes: no time of writing is in them.

    Args:
        path: The file.
        arrays: By name.
        is_compressed: Whether they take less room, and longer to write and to read.

    Raises:
        OSError: If the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    method = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    try:
        with writing(path):
            with partial.open("wb") as file:
                with zipfile.ZipFile(file, "w", method) as archive:
                    for name, array in arrays.items():
                        # Nobody knows before the end that it is short.
                        with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                            form = {"fortran_order": False, "shape": array.shape}
                            form["descr"] = np.lib.format.dtype_to_descr(array.dtype)
                            np.lib.format.write_array_header_1_0(entry, form)
                            for piece in array.rows:
                                entry.write(np.ascontiguousarray(piece, array.dtype).data)
                file.flush()
                sync(file.fileno())
            partial.replace(path)
        sync_path(path.parent)
    finally:
        partial.unlink(missing_ok=True)
