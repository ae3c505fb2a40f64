"""What an environment shows: vectors, images, or dictionaries of both."""

import math

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from floq.observations import ObservationForm, Part


def form_of_space(space: Space) -> ObservationForm | None:
    """The form of an environment's observations; None of vectors.

    Raises:
        ValueError: If it is neither.
    """
    if is_vector(space):
        return None
    parts = _parts(space, "")
    if parts is None:
        raise ValueError(
            f"{space}: floq needs a flat Box of floats, a Box of bytes (height, width, channels), "
            "or a Dict of these"
        )
    return ObservationForm(parts)


def is_vector(space: Space) -> bool:
    """Whether it is a flat box of floats."""
    is_box = isinstance(space, Box) and len(space.shape) == 1 and space.shape[0] > 0
    return is_box and np.issubdtype(space.dtype, np.floating)


def _parts(space: Space, name: str) -> tuple[Part, ...] | None:
    """The parts of a space, in the order of their names; None if it has none that floq reads."""
    if isinstance(space, Dict):
        inner = [_parts(space[key], f"{name}/{key}".lstrip("/")) for key in sorted(space)]
        if not inner or None in inner or any("/" in key for key in space):
            return None
        return tuple(part for parts in inner if parts for part in parts)
    shape = space.shape or ()
    is_image = isinstance(space, Box) and len(shape) == 3 and space.dtype == np.uint8
    if (is_image and math.prod(shape)) or (is_vector(space) and name):
        return (Part(name, shape),)
    return None
