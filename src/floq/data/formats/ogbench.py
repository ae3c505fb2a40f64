"""OGBench's sets: one npz file, or a folder of shards with a validation twin of each."""

from pathlib import Path
from typing import Any

from floq.data.files import DatasetFile, read_file
from floq.data.formats.episodes import Episode, put_together
from floq.data.npz import check_declared
from floq.data.paths import data_directory, dataset_files, dataset_name
from floq.data.reading import Reading
from floq.observations import packed

OPTIONS = ("layout",)


def locate(name: str) -> Path:
    """Where a set of that name lies, or its folder of shards."""
    folder = data_directory() / dataset_name(name)
    return folder if folder.is_dir() else dataset_files(name)[0]


def recognises(path: Path) -> bool:
    """Whether it is a folder of shards; a single file is one of npz."""
    return path.is_dir() and bool(shards(path))


def shards(folder: Path) -> list[Path]:
    """The training files of a folder, in order."""
    return sorted(path for path in folder.glob("*.npz") if not path.stem.endswith("-val"))


def training_files(path: Path) -> list[Path]:
    """The file at a place, or the training files of a folder, in order.

    Raises:
        ValueError: If it is a folder without one.
    """
    files = shards(path) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: it holds no npz file of training data")
    return files


def read(path: Path, reading: Reading) -> DatasetFile:
    """The file, or all shards one after the other; images stay uint8.

    Raises:
        ValueError: One is damaged, or they differ in their fields, shapes, bounds or version.
    """
    files = training_files(path)
    size = sum(file.stat().st_size for file in files)
    # Files of plain arrays are as large as what they hold.
    check_declared(path, size, size=size)
    parts = [read_file(file) for file in files]
    first = parts[0]
    if len(parts) == 1:
        return first
    for file, part in zip(files, parts, strict=True):
        if (part.bounds, part.is_saved) != (first.bounds, first.is_saved):
            raise ValueError(f"{file}: its bounds or version are not those of {files[0].name}")
    found = put_together(
        path, [_rows(file, part.arrays) for file, part in zip(files, parts, strict=True)]
    )
    return first._replace(arrays=found.arrays, place=found.place)


def _rows(file: Path, arrays: dict[str, Any]) -> Episode:
    """The rows of a file, whose observations are packed where they are more than vectors."""
    rows = dict(arrays)
    form = None
    for field in arrays.keys() & {"observations", "next_observations"}:
        rows[field], form = packed(arrays[field], source=str(file))
    return Episode(file.name, rows, form)
