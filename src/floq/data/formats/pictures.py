"""Pictures in the cells of a table, PNG or JPEG, which may be damaged or hostile."""

import io
import warnings
from collections.abc import Sequence

import numpy as np

from floq.extras import require_extra

_KINDS = ("PNG", "JPEG")


def decoded(
    cells: Sequence[bytes],
    size: tuple[int, ...],
    resize: tuple[int, int] | None = None,
    *,
    source: str,
) -> np.ndarray:
    """What the cells show, uint8 (cells, height, width, 3).

    What a picture declares of its size is checked before it is unpacked.

    Args:
        cells: Each picture's bytes.
        size: Height and width that the pictures must have.
        resize: Height and width that they are given; None leaves them as they are.
        source: What the cells are, in messages.

    Raises:
        ValueError: One is damaged, or has another size or other channels.
        MissingExtraError: Pillow is not installed.
    """
    require_extra("formats", "PIL")
    height, width = resize or size
    frames = np.empty((len(cells), height, width, 3), np.uint8)
    for row, cell in enumerate(cells):
        try:
            frames[row] = _decoded(cell, size, resize)
        except Exception as error:  # Pillow raises many kinds of them.
            raise ValueError(
                f"{source}: the picture in row {row} cannot be read ({error}): it is damaged or of "
                "another set. Fetch it again, or leave this part out by observation_keys"
            ) from error
    return frames


def _decoded(cell: bytes, size: tuple[int, ...], resize: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image

    with warnings.catch_warnings(action="ignore"):  # Of sizes, which are refused below.
        picture = Image.open(io.BytesIO(cell), formats=_KINDS)
    if (picture.height, picture.width) != size:
        raise ValueError(
            f"it says {picture.height} x {picture.width} pixels, where {size[0]} x {size[1]} are "
            "due"
        )
    if picture.mode != "RGB":
        raise ValueError(f"its pixels are {picture.mode}, where red, green and blue are due")
    if resize is None:
        return np.asarray(picture)
    height, width = resize
    # A new pixel is the mean of those that it covers, as of videos.
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))
