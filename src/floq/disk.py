"""Errors of the disk, in words."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the path where writing it fails, which the system's own error does not do.

    Raises:
        OSError: If the body raises one.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} cannot be written ({error.strerror}). Make room or mend the disk, then go on: "
            "what was saved before is intact",
        ) from error
