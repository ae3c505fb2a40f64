"""What files begin with, by which formats are told apart."""

from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"


def signature(path: Path) -> bytes:
    """The first bytes of a regular file; none of anything else."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(8)
