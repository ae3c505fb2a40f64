"""npz files: what anybody wrote, what floq saved, and OGBench's without rewards."""

from pathlib import Path

from floq.data.files import DatasetFile, asks_for_success, read_file
from floq.data.reading import Reading

OPTIONS = ("layout", "rewards")


def recognises(path: Path) -> bool:
    """Whether a file begins as an archive does, which one that was cut short does too."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read(path: Path, reading: Reading) -> DatasetFile:
    """The arrays of a file, as `floq.data.files.read_file` reads them."""
    return read_file(path, is_by_success=asks_for_success(reading, source=str(path)))
