"""What a dataset file holds, and whether it is sound."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.files import SIMULATION, DatasetFile, read_marks, unread
from floq.data.formats import Source, find_source, placed, read_source
from floq.data.formats.ogbench import training_files
from floq.data.npz import find_members
from floq.data.paths import dataset_files, dataset_name
from floq.data.reading import Reading
from floq.data.sharded import ShardedRows
from floq.data.validation import check_arrays
from floq.disk import read_json
from floq.observations import packed
from floq.shell import quoted

_FLOAT = 4


def require_file(path: Path, name: str) -> None:
    """Refuse to go on without a dataset file.

    Args:
        path: The file.
        name: The dataset or task that it belongs to.

    Raises:
        FileNotFoundError: It is not there; the message holds the commands that make it.
    """
    # Imported here because generation itself reads the paths of its targets.
    from floq.data.generation import generatable_names

    if path.is_file():
        return
    dataset = dataset_name(name)
    fetch = quoted("floq", "data", "download", dataset)
    if dataset in generatable_names():
        make = quoted("floq", "data", "generate", dataset)
        ways = f"Make one with `{make}`, or fetch it with `{fetch}`."
    else:
        ways = f"Fetch the published one with `{fetch}`; floq cannot generate this dataset."
    raise FileNotFoundError(f"{path}: no such file. {ways} $FLOQ_DATA names another folder.")


def check_file(
    source: str | Path | Source, reading: Reading = Reading(), bounds: ActionBounds | None = None
) -> DatasetFile:
    """Read a whole dataset file, or the files of one set, and check everything in it.

    Args:
        source: As `floq.Dataset.load` takes it.
        reading: How to read it, where it leaves that open.
        bounds: What its actions lie within, where it does not say.

    Returns:
        The arrays that floq knows, by field, and the bounds of actions: as the file has them where
        it is one of OGBench's, else in the layout of whole trajectories, as the dataset has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The first fault.
    """
    found = find_source(source)
    file = read_source(found, reading)
    if "rewards" not in file.arrays:
        source = str(found.path)
        rows, form = packed(file.arrays["observations"], source=source)
        with placed(file):
            check_arrays(file.arrays | {"observations": rows}, source=source, bounds=bounds)
        seen = {"observations": form.unpack(rows) if form else rows}
        return file._replace(arrays=file.arrays | seen)
    # Imported here because OGBench's files are fetched and checked without jax.
    from floq.data.dataset import Dataset

    named = {} if bounds is None else bounds.named
    dataset = Dataset.load(found, reading=reading, **named)
    low, high = dataset.action_low, dataset.action_high
    known = None if low is None or high is None else ActionBounds(low, high)
    return DatasetFile(dataset.trajectories(), known)


def check(
    target: str,
    *,
    directory: Path | None = None,
    reading: Reading = Reading(),
    bounds: ActionBounds | None = None,
) -> dict[Path, str | None]:
    """The first fault of each file of a dataset, or None for a sound one.

    Args:
        target: A dataset or task, whose training and validation files are checked, or a source as
            `floq.Dataset.load` takes it.
        directory: The folder of the files, `floq.data.paths.data_directory()` by default.
        reading: How to read them, where they leave that open.
        bounds: What their actions lie within, where they do not say.

    Raises:
        FileNotFoundError: A file is not there.
    """
    found: dict[Path, str | None] = {}
    for source in _sources(target, directory):
        try:
            if not _check_in_pieces(source):
                check_file(source, reading, bounds)
            found[source.path] = None
        except ValueError as error:
            found[source.path] = str(error)
    return found


def _check_in_pieces(source: Source) -> bool:
    """Checks a folder of shards, which may be larger than memory; False where it is another set.

    Raises:
        ValueError: The first fault.
    """
    if source.format != "ogbench" or not source.path.is_dir():
        return False
    first, values = training_files(source.path)[0], ("rewards", "masks")
    found = find_members(first, required=(), optional=(*values, *SIMULATION))
    if "rewards" in found and not read_marks(first).is_saved:
        return False
    fields = values if "rewards" in found else tuple(found)
    label = None if "rewards" in found else lambda arrays: (arrays[fields[0]], arrays[fields[0]])
    rows = ShardedRows.open(source.path, fields=fields, label=label)
    for field in ("observations", "actions", "terminals", *fields):
        for _ in rows.pieces(field):
            pass
    return True


def describe(
    target: str,
    *,
    directory: Path | None = None,
    reading: Reading = Reading(),
    bounds: ActionBounds | None = None,
) -> dict[Path, dict[str, Any]]:
    """What the files of a dataset hold, after a full check of them.

    Args:
        target: A dataset or task, or a source as `floq.Dataset.load` takes it.
        directory: The folder of the files, `floq.data.paths.data_directory()` by default.
        reading: How to read them, where they leave that open.
        bounds: What their actions lie within, where they do not say.

    Returns:
        For each file, by the words under which a user reads them: format, numbers of rows,
        transitions and trajectories, lengths, dimensions, ranges, the bounds of the actions, sizes
        in megabytes, the arrays of an npz file that are not read and, where the dataset was
        generated, the settings it was generated with.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file is not sound.
    """
    return {
        source.path: _describe(source, check_file(source, reading, bounds), reading)
        for source in _sources(target, directory)
    }


def _describe(source: Source, file: DatasetFile, reading: Reading) -> dict[str, Any]:
    path, arrays = source.path, file.arrays
    actions = arrays["actions"]
    rows, action_dim = actions.shape
    observations, form = packed(arrays["observations"], source=str(path))
    observation_bytes = (_FLOAT if form is None else 1) * observations.shape[1]
    ends = np.flatnonzero(arrays["terminals"])
    lengths = np.diff(ends, prepend=-1) - 1
    transitions = rows - len(ends)
    # From the last row of a trajectory nothing was done: what it holds may be padding.
    is_start = arrays["terminals"] == 0
    on_device = rows * observation_bytes + _FLOAT * (rows * (action_dim + 2) + transitions)
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    facts = {
        "format": _format(source),
        "rows": rows,
        "transitions": transitions,
        "trajectories": len(ends),
        "transitions a trajectory": f"{lengths.min()} to {lengths.max()}",
        "entries of an observation": observations.shape[1] if form is None else str(form),
        "entries of an action": action_dim,
        "range of the actions": _range(actions[is_start]),
        "bounds of the actions": "none" if file.bounds is None else f"{file.bounds}, here [-1, 1]",
        "fields": ", ".join(
            f"{field} {getattr(values, 'dtype', 'dictionary')}" for field, values in arrays.items()
        ),
        "file (MB)": round(sum(file.stat().st_size for file in files) / 1e6, 3),
        "memory on the device (MB)": round(on_device / 1e6, 3),
    }
    if form is None:
        facts["range of the observations"] = _range(observations)
    if "rewards" in arrays:
        facts["range of the rewards"] = _range(arrays["rewards"][is_start])
    if source.format == "npz":
        names = unread(path, is_by_success=reading.rewards == "success")
        facts["arrays that are not read"] = ", ".join(names) or "none"
    sidecar = path.with_name(f"{path.stem.removesuffix('-val')}.json")
    if sidecar.is_file():
        facts["generated with"] = read_json(sidecar)
    return facts


def _format(source: Source) -> str:
    """Its prefix, and whose files they are where floq wrote a folder of OGBench's kind."""
    if source.format != "ogbench" or not source.path.is_dir():
        return source.format
    is_saved = read_marks(training_files(source.path)[0]).is_saved
    return "ogbench, in files that floq wrote" if is_saved else source.format


def _range(values: np.ndarray) -> str:
    return f"{values.min():.4g} to {values.max():.4g}" if values.size else "none"


def _sources(target: str, directory: Path | None) -> tuple[Source, ...]:
    """The files of a dataset by its name, or the source that is named."""
    if directory is not None:
        target = target.removeprefix("ogbench:")
    if target.endswith(".npz") or os.sep in target or ":" in target or Path(target).exists():
        return (find_source(target),)
    paths = dataset_files(target, directory=directory)
    folder = paths[0].with_suffix("")
    if folder.is_dir():
        return (Source("ogbench", folder),)
    for path in paths:
        require_file(path, target)
    return tuple(Source("npz", path) for path in paths)
