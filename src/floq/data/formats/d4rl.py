"""D4RL's HDF5 files: flat arrays of transitions, without the states that ended trajectories."""

from pathlib import Path

import numpy as np

from floq.data.files import DatasetFile
from floq.data.formats import hdf5
from floq.data.reading import Reading

OPTIONS = ("convention",)
_JUMP = 1e-6
"""A next observation further than this from the following row's is of another trajectory."""


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file with D4RL's arrays at its top."""
    wanted = {"observations", "actions", "rewards", "terminals"}
    return wanted <= hdf5.first_names(path)


def read(path: Path, reading: Reading) -> DatasetFile:
    """The transitions, as the convention of their task has rewards and ends.

    Raises:
        ValueError: The file is damaged, lacks a field, or nobody said which convention holds.
        MissingExtraError: h5py is not installed.
    """
    if reading.convention is None:
        raise ValueError(
            f"{path}: D4RL's files leave open what their rewards and ends mean: say by convention "
            "(--convention) whether it is of antmaze (reward - 1, trajectories run on past "
            "terminals), adroit (ends also where states jump) or locomotion (as it is)"
        )
    with hdf5.opened(path) as file:
        needed = ("observations", "actions", "rewards", "terminals")
        arrays = {name: file.array(name) for name in needed}
        others = [name for name in ("timeouts", "next_observations") if name in file]
        if not others:
            raise ValueError(
                f"{path}: no array named timeouts, nor next_observations, so that nothing says "
                "where a time limit ended a trajectory: add one of them"
            )
        arrays |= {name: file.array(name) for name in others}
    for name in ("rewards", "terminals", "timeouts"):
        # Some are (rows, 1).
        if name in arrays and arrays[name].shape[1:] == (1,):
            arrays[name] = arrays[name][:, 0]
    for name, values in arrays.items():
        if values.shape[:1] != arrays["observations"].shape[:1]:
            raise ValueError(
                f"{path}: {name} has the shape {values.shape} and observations "
                f"{arrays['observations'].shape}: each needs one row for every transition"
            )
    terminals = arrays.pop("terminals")
    wrong = np.flatnonzero((terminals != 0) & (terminals != 1))
    if terminals.ndim != 1 or wrong.size:
        row = f"row {wrong[0]} holds {terminals.flat[wrong[0]]}" if wrong.size else terminals.shape
        raise ValueError(f"{path}: terminals must be one 0 or 1 a row: {row}")
    is_antmaze = reading.convention == "antmaze"
    timeouts = arrays.pop("timeouts", np.zeros(len(terminals), bool)) != 0
    ends = timeouts if is_antmaze else timeouts | (terminals != 0)
    arrays["masks"] = 1.0 - terminals
    if is_antmaze:
        arrays["rewards"] = arrays["rewards"] - 1.0
    if "next_observations" in arrays:
        if reading.convention != "locomotion":
            ends = ends | _jumps(arrays)
        return DatasetFile(arrays | {"ends": ends}, place=_place)
    ends[-1:] = True
    return DatasetFile(arrays | {"terminals": ends}, layout="transitions", place=_place)


def _place(row: int) -> str:
    return f"transition {row}"


def _jumps(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Where trajectories break; elsewhere next observations become the following row's."""
    states, following = arrays["observations"], arrays["next_observations"]
    if states.shape != following.shape or states.ndim != 2:
        return np.zeros(len(states), bool)  # Which is refused as soon as it is checked.
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.linalg.norm(states[1:] - following[:-1], axis=1)
    jumps = np.append(~(distances <= _JUMP), True)
    near = np.flatnonzero(~jumps)
    following[near] = states[near + 1]
    return jumps
