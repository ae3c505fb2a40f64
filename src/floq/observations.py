"""Observations that are more than a vector: images, and dictionaries of images and vectors.

Such an observation is packed into one row of bytes: its parts in the order of their names, a
vector as the four bytes of each float32. So a batch of any observations is an array [batch, obs],
of float32 entries or of bytes, and only what shows them (an environment, data, an actor) and what
reads them (an encoder) knows their form.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from floq.settings import check_not_negative, check_positive, normalise

_FEW = 16
"""Channels are fewer, of several frames too; the other two axes of a picture are not."""

_CONSTANT = 1e-6
"""A deviation of at most this share of an entry's size is what rounding makes of a constant."""


class Normalization(NamedTuple):
    """What is subtracted from each entry of an observation, and what it is then divided by.

    Attributes:
        mean: The mean over all states of the data.
        deviation: The standard deviation over them; 1 for an entry that is constant.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, pieces: Iterable[np.ndarray]) -> "Normalization":
        """That of data, [rows, obs], of which some rows come at a time (Chan et al., 1979)."""
        count, mean, squares = 0, np.zeros(1), np.zeros(1)
        for piece in pieces:
            own, total = piece.mean(axis=0, dtype=np.float64), count + len(piece)
            away = own - mean
            squares = squares + np.square(piece - own).sum(axis=0)
            squares += np.square(away) * count * len(piece) / total
            count, mean = total, mean + away * len(piece) / total
        deviation = np.sqrt(squares / count)
        is_constant = deviation <= _CONSTANT * np.abs(mean)
        deviation = np.where(is_constant, 1.0, deviation)
        return cls(*(tuple(one.astype(np.float32).tolist()) for one in (mean, deviation)))

    def __call__(self, observations: Any) -> Any:
        """The observations as networks see them, of numpy or jax, [..., obs]."""
        mean, deviation = (np.array(one, np.float32) for one in self)
        return (observations - mean) / deviation


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """How images become features, before each network; observations that are vectors need none.

    The defaults are the `impala_small` and the augmentation of the published runs (arXiv
    1802.01561, arXiv 2502.02538), whose visual tasks stack 3 frames.

    Attributes:
        channels: Channels of each stack: a convolution, a max-pool that halves the image, and
            residual blocks.
        residual_blocks: Of each stack.
        features: Entries that an image becomes.
        frames: Images that an observation holds: the newest, and those of the steps before it,
            where an episode's first one stands for those before itself.
        crop_padding: Pixels by which a random crop shifts images at most, over edges that are
            repeated; 0 for none.
        crop_share: Probability that the images of a batch are cropped.
    """

    channels: tuple[int, ...] = (16, 32, 32)
    residual_blocks: int = 1
    features: int = 512
    frames: int = 1
    crop_padding: int = 3
    crop_share: float = 0.5

    def __post_init__(self) -> None:
        """Refuses an encoder without layers, and shares that are none."""
        normalise(self)
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels are {self.channels}: give one or more, each 1 or more.")
        check_positive(self, "features", "frames")
        check_not_negative(self, "residual_blocks", "crop_padding")
        if not 0 <= self.crop_share <= 1:
            raise ValueError(f"crop_share is {self.crop_share}: give a number from 0 to 1.")


class Part(NamedTuple):
    """One array of an observation.

    Attributes:
        name: Its place in the dictionary, such as camera or robot/arm; empty for an image alone.
        shape: (height, width, channels) of a uint8 image, or (entries,) of a float32 vector.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def is_image(self) -> bool:
        """Whether it is one; a vector otherwise."""
        return len(self.shape) == 3

    @property
    def dtype(self) -> str:
        """uint8 of an image, float32 of a vector."""
        return "uint8" if self.is_image else "float32"

    @property
    def nbytes(self) -> int:
        """Bytes of it in a row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class ObservationForm(NamedTuple):
    """What a row of bytes holds.

    Attributes:
        parts: In the order of the bytes.
        frames: Packed observations that a row holds one after the other, the newest last.
        encoder: How networks read it; the default one where nobody has said.
    """

    parts: tuple[Part, ...]
    frames: int = 1
    encoder: EncoderConfig | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of one packed observation."""
        return sum(part.nbytes for part in self.parts)

    @property
    def bare(self) -> "ObservationForm":
        """The form of a single frame, whoever reads it."""
        return ObservationForm(self.parts)

    def __str__(self) -> str:
        """What it is, in words."""
        return ", ".join(
            f"{'an image' if part.is_image else 'a vector'} {list(part.shape)}"
            + (f" {part.name!r}" if part.name else "")
            for part in self.parts
        )

    def pack(self, observation: Any, *, axes: int = 0) -> np.ndarray:
        """Observations as bytes, uint8 [..., nbytes].

        Args:
            observation: An image, or a dictionary of images and vectors.
            axes: Leading axes of each array: 0 for one observation, 1 for many.

        Raises:
            ValueError: If a part is missing, or of another shape or type, or not finite.
        """
        rows = [self._bytes(part, observation, axes) for part in self.parts]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)

    def unpack(self, rows: np.ndarray) -> Any:
        """The observations [...] of rows of a single frame: arrays as `pack` takes them."""
        edges = np.cumsum([part.nbytes for part in self.parts])[:-1]
        found: dict[str, Any] = {}
        for part, own in zip(self.parts, np.split(rows, edges, axis=-1), strict=True):
            array = np.ascontiguousarray(own).view(part.dtype)
            found[part.name] = array.reshape(*rows.shape[:-1], *part.shape)
        return nested(found)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The entries of all vectors of rows of a single frame, float32 [rows, entries]."""
        edges = np.cumsum([part.nbytes for part in self.parts])[:-1]
        split = zip(self.parts, np.split(rows, edges, axis=-1), strict=True)
        own = [values for part, values in split if not part.is_image]
        return np.concatenate(own, axis=-1).view(np.float32)

    def split(self, normalization: Normalization) -> dict[str, Normalization]:
        """By name, how each vector is normalised, of how all their entries are."""
        found, first = {}, 0
        for part in self.parts:
            if not part.is_image:
                last = first + part.shape[0]
                found[part.name] = Normalization(*(one[first:last] for one in normalization))
                first = last
        return found

    def _bytes(self, part: Part, observation: Any, axes: int) -> np.ndarray:
        value, what = observation, f"part {part.name!r} of the observation"
        for key in part.name.split("/") if part.name else ():
            if not isinstance(value, Mapping) or key not in value:
                raise ValueError(f"{what} is missing: give {self}")
            value = value[key]
        array = np.asarray(value)
        due = "bytes (uint8)" if part.is_image else "floats"
        is_due = array.dtype == np.uint8 if part.is_image else array.dtype.kind in "fiub"
        if array.shape[axes:] != part.shape or array.ndim != axes + len(part.shape) or not is_due:
            raise ValueError(
                f"{what if part.name else 'the observation'} has the shape {array.shape} and the "
                f"dtype {array.dtype}: it must be {list(part.shape)} of {due}"
            )
        if not part.is_image:
            with np.errstate(over="ignore"):
                array = np.ascontiguousarray(array, np.float32)
            if not (finite := np.isfinite(array)).all():
                raise ValueError(f"{what} is not finite in float32{_where(~finite, axes)}")
        array = np.ascontiguousarray(array)
        return array.reshape(*array.shape[:axes], -1).view(np.uint8)


def _where(bad: np.ndarray, axes: int) -> str:
    """In which rows entries are bad, where there are rows."""
    if axes != 1:
        return ""
    rows = np.flatnonzero(bad.any(axis=1))
    return f" in {len(rows)} of {len(bad)} rows, first in row {rows[0]}"


def nested(parts: Mapping[str, Any]) -> Any:
    """Parts by their names as the dictionary that they are of, or the one that has no name."""
    found: dict[str, Any] = {}
    for part, value in parts.items():
        if not part:
            return value
        *outer, name = part.split("/")
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[name] = value
    return found


def flat(observations: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a dictionary, maybe nested, by their places in it, such as robot/arm.

    Raises:
        ValueError: If a key is no name, or an array has hidden entries.
    """
    found: dict[str, np.ndarray] = {}
    for key, value in observations.items():
        if not isinstance(key, str) or not key or "/" in key:
            raise ValueError(f"a part is called {key!r}: give its name as a str without /")
        refuse_hidden(value, f"the part {prefix}{key}")
        name = f"{prefix}{key}"
        is_inner = isinstance(value, Mapping)
        found |= flat(value, f"{name}/") if is_inner else {name: np.asarray(value)}
    return dict(sorted(found.items()))


def refuse_hidden(values: Any, name: str) -> None:
    """Refuses a masked array whose mask hides entries, which would be taken for data.

    Raises:
        ValueError: If it is one.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} is a masked array, and {np.ma.count_masked(values)} of its entries are "
            "hidden: leave out the trajectories with such rows"
        )


class Packed(NamedTuple):
    """Observations of data that are packed already.

    Attributes:
        rows: Rows of bytes, uint8 [rows, obs].
        form: What these are.
    """

    rows: np.ndarray
    form: ObservationForm


def packed(observations: Any, *, source: str) -> tuple[Any, ObservationForm | None]:
    """The observations of data as rows, and their form; vectors are left as they are.

    Args:
        observations: Vectors [rows, obs], images [rows, height, width, channels], a dictionary,
            maybe nested, of both, or what is packed already.
        source: What the data is called in messages.

    Raises:
        ValueError: If an image is not of bytes, or lengths differ.
    """
    if isinstance(observations, Packed):
        return observations
    try:
        return _packed(observations)
    except ValueError as error:
        raise ValueError(f"{source}: of observations, {error}") from error


def _packed(observations: Any) -> tuple[Any, ObservationForm | None]:
    if isinstance(observations, Mapping):
        arrays = flat(observations)
        shapes = {name: array.shape for name, array in arrays.items()}
        if not arrays or any(array.ndim not in (2, 4) for array in arrays.values()):
            raise ValueError(
                f"a dictionary has the shapes {shapes}: give vectors (rows, entries) and images "
                "(rows, height, width, channels)"
            )
        if len({len(array) for array in arrays.values()}) > 1:
            raise ValueError(f"a dictionary has the shapes {shapes}: all need as many rows")
    elif getattr(observations, "ndim", 2) == 4:
        refuse_hidden(observations, "the array")
        arrays = {"": np.asarray(observations)}
    else:
        return observations, None
    form = ObservationForm(tuple(Part(name, array.shape[1:]) for name, array in arrays.items()))
    return form.pack(observations, axes=1), form


def warn_of_channels(form: ObservationForm | None) -> None:
    """Says which images seem to have channels first, of data or of an environment."""
    for part in form.parts if form else ():
        if part.is_image and part.shape[0] < _FEW <= min(part.shape[1:]):
            # Without the place of the data, so that it is said once of many files.
            warnings.warn(
                f"{ObservationForm((part,))} has the height {part.shape[0]} and {part.shape[2]} "
                "channels, as if channels came first, and floq reads (height, width, channels): if "
                "so, move the axis, as numpy.moveaxis(images, 1, -1) does, and in the environment "
                "too",
                UserWarning,
                stacklevel=4,
            )


def stacked(form: ObservationForm | None, count: int) -> ObservationForm:
    """The form of observations that hold the frames of several steps.

    Args:
        form: That of the data, whose observations are single frames; None of vectors.
        count: Frames of an observation, 1 or more.

    Raises:
        ValueError: If observations are vectors, or hold several frames already.
    """
    if form is None or form.frames != 1 or count < 1:
        held = "vectors" if form is None else f"{form.frames} frames"
        raise ValueError(
            f"frames is {count} and observations are {held}: stack 1 or more images, once."
        )
    return form._replace(frames=count)


class Frames:
    """The last observations of several rows, as policies that stack frames read them.

    Attributes:
        stacked: What a policy reads, [rows, frames · obs].
    """

    def __init__(self, rows: int, size: int, *, count: int, dtype: Any):
        """Starts with nothing but zeros.

        Args:
            rows: Environments, or places for them.
            size: Entries of one observation.
            count: Observations that are stacked.
            dtype: Of an observation.
        """
        self.stacked = np.zeros((rows, count * size), dtype)
        self._size = size

    @property
    def newest(self) -> np.ndarray:
        """The last observation of each row, [rows, obs]."""
        return self.stacked[:, -self._size :]

    def begin(self, rows: np.ndarray, observations: np.ndarray) -> None:
        """The first observations of episodes, which stand for those before."""
        count = self.stacked.shape[1] // self._size
        self.stacked[rows] = np.tile(observations, (1, count))

    def push(self, rows: np.ndarray, observations: np.ndarray) -> None:
        """The next observations of the rows' episodes."""
        former = self.stacked[rows][:, self._size :]
        self.stacked[rows] = np.concatenate([former, observations], axis=1)
