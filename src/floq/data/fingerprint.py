"""What tells data from other data."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from floq.observations import ObservationForm

Field = tuple[str, np.dtype, tuple[int, ...], Iterable[Any]]
"""Name, type and shape of an array, and its rows in order, some at a time."""


def whole_field(name: str, values: Any) -> Field:
    """An array that is there as a whole."""
    array = np.ascontiguousarray(values)
    return name, array.dtype, array.shape, [array]


def form_field(form: ObservationForm) -> str:
    """What the bytes of observations are."""
    return f"form {form};"


def fingerprint(parts: Iterable[Field | str]) -> str:
    """SHA-256 of arrays and words, in hexadecimal, however the arrays come in pieces."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
            continue
        name, dtype, shape, pieces = part
        digest.update(f"{name} {dtype.str} {shape};".encode())
        for piece in pieces:
            digest.update(np.ascontiguousarray(piece, dtype).data)
    return digest.hexdigest()
