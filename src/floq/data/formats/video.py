"""Frames of video files that may be damaged, cut short or hostile.

What a file declares is checked before anything is decoded: its tables, the size of its pictures,
and a frame for each of the times that are due. A decoder is told the largest picture, and to fail
where it would mend. Files are handed to it open, so that it can open no other.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.formats.mp4 import check_tables
from floq.extras import require_extra

_SLACK = 64
"""Pixels by which codecs round the sides of a picture up."""
_LEAST_SAMPLES, _SPARE, _LEAST_BYTES = 10_000, 4, 2**24
"""Samples and bytes that no file is too small for, and how many samples a frame may be of."""
_SHARE = 0.25
"""Of the time between two frames, by which a frame may be from its row's time."""
_INTERPOLATION = 32 | 0x40000 | 0x80000
"""swscale's AREA, accurately rounded and bit by bit the same on every processor."""


class Video(NamedTuple):
    """A file, and which of its frames are due.

    Attributes:
        path: The file.
        size: Height and width of its pictures.
        rate: Frames a second.
        times: When the frames are shown that are due, in seconds, increasing, float64.
        row: The words for whose frame one of these is, by its number.
        resize: Height and width that the frames are given; None leaves them as they are.
    """

    path: Path
    size: tuple[int, int]
    rate: float
    times: np.ndarray
    row: Callable[[int], str]
    resize: tuple[int, int] | None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all its frames."""
        return len(self.times), *(self.resize or self.size), 3


def check_file(video: Video) -> None:
    """Looks at what a file declares, before anybody reads all of it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is cut short or hostile, or larger than all its frames without compression.
    """
    check_tables(video.path, max(_LEAST_SAMPLES, _SPARE * len(video.times)))
    size, most = video.path.stat().st_size, len(video.times) * math.prod(video.size) * 3
    if size > most + _LEAST_BYTES:
        raise ValueError(
            f"{video.path}: it has {size:,} bytes, more than its {len(video.times):,} frames "
            "without compression: it is damaged, hostile or of another set. Fetch it again"
        )


def check(video: Video) -> np.ndarray:
    """The moments of the frames that are due, in the file's own units; decodes nothing.

    Raises:
        ValueError: It is damaged, its pictures have another size, or a row has no frame of its own.
        MissingExtraError: PyAV is not installed.
    """
    with _opened(video) as (container, stream):
        moments = [one.pts for one in container.demux(stream) if one.size]
        unit = float(stream.time_base)
    if None in moments or not moments:
        raise _damaged(video, "it has frames without a time, or none")
    shown = np.sort(np.array(moments, np.int64))
    seconds = shown * unit
    found = np.searchsorted((seconds[1:] + seconds[:-1]) / 2, video.times)
    far = np.abs(seconds[found] - video.times) > _SHARE / video.rate
    twice = np.diff(found, prepend=-1) < 1
    if (far | twice).any():
        row = int(np.argmax(far | twice))
        raise ValueError(
            f"{video.path}: {video.row(row)} needs a frame of its own at {video.times[row]:.3f} "
            f"s, and the nearest of the {len(shown)} frames is at {seconds[found[row]]:.3f} s"
            f"{', which another row has' if twice[row] else ''}: the video and the tables do not "
            "belong together, or one was cut short. Fetch both again"
        )
    if len(shown) > len(found):
        warnings.warn(
            f"{video.path}: {len(shown) - len(found)} of {len(shown)} frames belong to no row and "
            "are left out: the video may be of another set than the tables",
            UserWarning,
            stacklevel=2,
        )
    return shown[found]


def frames(video: Video, moments: np.ndarray) -> Iterator[np.ndarray]:
    """The frames that are due, uint8 (height, width, 3), in order.

    Args:
        video: The file.
        moments: What `check` found.

    Raises:
        ValueError: It is damaged.
    """
    height, width = video.shape[1:3]
    due = 0
    with _opened(video) as (container, stream):
        for frame in container.decode(stream):
            if (frame.height, frame.width) != video.size or frame.is_corrupt:
                raise _damaged(video, f"{video.row(due)} has a damaged frame, or of another size")
            if frame.pts == moments[due]:
                yield frame.to_ndarray(
                    format="rgb24", width=width, height=height, interpolation=_INTERPOLATION
                )
                due += 1
                if due == len(moments):
                    return
    raise _damaged(video, f"{video.row(due)} has no frame")


@contextlib.contextmanager
def _opened(video: Video) -> Iterator[tuple[Any, Any]]:
    """A file's container and its only video stream, whose pictures are of the declared size.

    Raises:
        ValueError: It is damaged, or what is asked of it inside raises an error of FFmpeg.
        MissingExtraError: PyAV is not installed.
    """
    require_extra("formats", "av")
    import av  # pyright: ignore[reportMissingImports]

    height, width = video.size
    # The same for the look that FFmpeg takes as it opens a file, and for decoding.
    limits = {"max_pixels": str((height + _SLACK) * (width + _SLACK)), "err_detect": "explode"}
    path = video.path
    try:
        with (
            path.open("rb") as file,
            av.open(file, format="mp4", options=limits) as container,
        ):
            streams = container.streams.video
            found = [(one.height, one.width) for one in streams]
            if found != [video.size]:
                held = ", ".join(f"{one[0]} x {one[1]}" for one in found) or "no video"
                raise ValueError(
                    f"{path}: it holds {held}, and meta/info.json says {height} x {width}: it is "
                    "of another set, damaged or hostile. Fetch both again"
                )
            stream = streams[0]
            stream.codec_context.options = limits
            stream.thread_type = "AUTO"
            yield container, stream
    except Exception as error:
        if type(error) is ValueError and str(path) in str(error):
            raise
        raise _damaged(video, f"it cannot be read as video ({error})") from error


def _damaged(video: Video, words: str) -> ValueError:
    return ValueError(
        f"{video.path}: {words}: it is damaged or cut short. Fetch it again, or leave this feature "
        "out by observation_keys"
    )
