"""Dataset files with a fault of every kind, and sound ones."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from floq.data.dataset import Dataset
from floq.data.info import check_file
from floq.data.reading import Reading
from tests.faults.learning import make_arrays
from tests.faults.trials import Row, Trial, hold

Arrays = dict[str, np.ndarray]
_HAS_VIDEOS = all(map(importlib.util.find_spec, ("av", "pyarrow")))
_FLOATS = ("observations", "actions", "rewards", "masks", "next_observations")


class Mutation(NamedTuple):
    """A fault in arrays.

    Attributes:
        kind: What it is.
        field: The field that has it.
        row: Its first row; None where it is not one of rows.
    """

    kind: str
    field: str
    row: int | None = None


def _with_value(values: Sequence[float], arrays: Arrays, random: np.random.Generator) -> Mutation:
    field = str(random.choice([name for name in _FLOATS if name in arrays]))
    return _put(arrays, field, float(random.choice(values)), random)


def _put(arrays: Arrays, field: str, value: float, random: np.random.Generator) -> Mutation:
    values = arrays[field] = arrays[field].astype(np.float64)
    row = int(random.integers(len(values)))
    values[row if values.ndim == 1 else (row, int(random.integers(values.shape[1])))] = value
    return Mutation(str(value), field, row)


def _shape(arrays: Arrays, random: np.random.Generator) -> Mutation:
    field = str(random.choice(list(arrays)))
    values = arrays[field]
    arrays[field] = values[None] if random.random() < 0.5 else values[..., None]
    return Mutation("shape", field)


def _dtype(arrays: Arrays, random: np.random.Generator) -> Mutation:
    field = str(random.choice(list(arrays)))
    wrong = ["U4", np.complex64, "datetime64[s]", "S3", *([np.int64] * (field == "actions"))]
    arrays[field] = np.zeros(arrays[field].shape, wrong[int(random.integers(len(wrong)))])
    return Mutation("dtype", field)


def _length(arrays: Arrays, random: np.random.Generator) -> Mutation:
    field = str(random.choice([name for name in arrays if name != "observations"]))
    values = arrays[field]
    longer = np.concatenate([values, values[-1:]])
    arrays[field] = values[: int(random.integers(len(values)))] if random.random() < 0.5 else longer
    return Mutation("length", field)


def _ends(arrays: Arrays, random: np.random.Generator) -> Mutation:
    if "terminals" not in arrays:
        return _put(arrays, "masks", float(random.choice([0.5, 2.0, -1.0])), random)
    # Where every row is a transition, the last one need not end anything.
    if "next_observations" in arrays or random.random() < 0.5:
        return _put(arrays, "terminals", float(random.choice([0.5, 2.0, -1.0])), random)
    arrays["terminals"][-1] = 0
    return Mutation("last row open", "terminals", len(arrays["terminals"]) - 1)


def _range(arrays: Arrays, random: np.random.Generator) -> Mutation:
    if "rewards" not in arrays or random.random() < 0.5:
        return _put(arrays, "actions", float(random.choice([1.01, -3.0, 1e6])), random)
    return _put(arrays, "rewards", float(random.choice([1e300, -1e39])), random)


_MUTATIONS: list[Callable[[Arrays, np.random.Generator], Mutation]] = [
    partial(_with_value, [np.nan]),
    partial(_with_value, [np.inf, -np.inf]),
    _shape,
    _dtype,
    _length,
    _ends,
    _range,
]


def _from_file(path: Path, arrays: Arrays) -> object:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return check_file(path)


def _from_trajectories(path: Path, arrays: Arrays) -> object:
    return Dataset.from_trajectories(**arrays)


def _from_transitions(path: Path, arrays: Arrays) -> object:
    return Dataset.from_transitions(**arrays)


def _from_d4rl(path: Path, arrays: Arrays) -> object:
    with h5py.File(path, "w") as file:
        for field, values in arrays.items():
            if values.dtype.kind in "UM":  # HDF5 has no such type.
                values = values.astype("S")
            elif values.ndim == 2 and field in ("rewards", "terminals"):
                values = values[..., None]  # A form that D4RL's files have is no fault.
            file[field] = values
    return check_file(f"d4rl:{path}", Reading(convention="locomotion"))


_READERS: list[tuple[Callable[[Path, Arrays], object], Sequence[str]]] = [
    (_from_file, ("observations", "actions", "terminals")),
    (_from_trajectories, ("observations", "actions", "rewards", "masks", "terminals")),
    (_from_transitions, ("observations", "actions", "rewards", "masks", "next_observations")),
    (_from_d4rl, ("observations", "actions", "rewards", "terminals", "next_observations")),
]


def _drawn(fields: Sequence[str], random: np.random.Generator) -> Arrays:
    arrays = make_arrays(random, rows=int(random.integers(40, 400)))
    arrays["next_observations"] = np.roll(arrays["observations"], -1, axis=0)
    if random.random() < 0.3:
        arrays["observations"] = arrays["observations"].astype(np.float64)
    return {field: arrays[field] for field in fields}


@contextlib.contextmanager
def _mutated(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    def trial(index: int, random: np.random.Generator) -> None:
        read, fields = _READERS[index % len(_READERS)]
        arrays: dict[str, Any] = _drawn(fields, random)
        mutation = _MUTATIONS[index // len(_READERS) % len(_MUTATIONS)](arrays, random)
        try:
            read(folder / "data.npz", arrays)
        except ValueError as error:
            said = str(error)
        else:
            said = "it was accepted"
        hold(mutation.field in said, f"{read.__name__}, {mutation}: {said}")
        row = mutation.row
        named = row is None or f"row {row}" in said or f"last row, {row}" in said
        hold(named, f"{read.__name__}, {mutation}: the row is not named: {said}")

    def video_trial(copied: Callable[[], Path], random: np.random.Generator) -> None:
        place = copied()
        kind, words = videos.mutate(place, random)
        try:
            videos.read(place)
        except (ValueError, FileNotFoundError) as error:
            said = str(error)
        else:
            said = "it was accepted"
        hold(all(word in said for word in words), f"a video, {kind}, {words}: {said}")

    trials: list[Trial] = [partial(trial, index) for index in range(wanted)]
    if not _HAS_VIDEOS:
        yield trials
        return
    from tests.faults import videos

    with videos.sets(folder) as copied:
        # Every tenth is of a set with videos.
        trials[9::10] = [partial(video_trial, copied)] * len(trials[9::10])
        yield trials


@contextlib.contextmanager
def _clean(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    def trial(index: int, random: np.random.Generator) -> None:
        read, fields = _READERS[index % len(_READERS)]
        read(folder / "data.npz", _drawn(fields, random))

    yield [partial(trial, index) for index in range(wanted)]


ROWS = [
    Row(
        "data-mutated",
        "data sets with NaN, infinity, a wrong shape, dtype, length, terminal or range, and videos "
        "that are cut short, of other frames or of another size",
        "rejected naming field and row, or the video",
        150,
        42,
        _mutated,
    ),
    Row("data-clean", "clean data sets", "accepted", 20, 3, _clean),
]
