"""Frames of videos, decoded once: each file's in a file of bytes in the user's cache.

A file of the cache is named after what it was made of: the bytes of the video, the times of the
frames that are due, and the size that they are given. So it is found again wherever the video lies,
and never for another one.
"""

import hashlib
import itertools
import math
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from floq.data.files import Pieces, write_arrays
from floq.data.formats import video
from floq.data.npz import Member, find_members
from floq.disk import user_cache
from floq.progress import ProgressDisplay
from floq.streams import complain

_VERSION = 1
"""Of how frames are made of a video."""
_FRAMES = "frames"


def decoded(videos: Sequence[video.Video], *, source: str) -> list[Member]:
    """The frames of each video, uint8 (frames, height, width, 3), in files that are verified.

    Args:
        videos: The files, and which of their frames are due.
        source: What they belong to, in messages.

    Raises:
        FileNotFoundError: A video is not there.
        ValueError: One is damaged, or belongs to other rows.
        OSError: The disk has no room for the frames.
        MissingExtraError: PyAV is not installed.
    """
    folder = user_cache() / "frames"
    files = [folder / f"{_key(one)}.npz" for one in videos]
    missing = {file: one for file, one in zip(files, videos, strict=True) if not file.exists()}
    if missing:
        _decode(missing, folder, source)
    return [_verified(*pair) for pair in zip(files, videos, strict=True)]


def _key(one: video.Video) -> str:
    video.check_file(one)
    with one.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f";{_VERSION};{one.size};{one.rate};{one.resize};".encode())
    digest.update(one.times.astype("<f8").tobytes())
    return digest.hexdigest()


def _decode(missing: dict[Path, video.Video], folder: Path, source: str) -> None:
    # All are looked at before one is decoded, which may take hours.
    moments = {file: video.check(one) for file, one in missing.items()}
    _say_size(missing.values(), folder, source)
    total = sum(len(one.times) for one in missing.values())
    with ProgressDisplay(total, bar=True, unit="frames") as display:
        for file, one in missing.items():
            display.note(f"decoding {one.path.name}")
            frames = video.frames(one, moments[file])
            first = next(frames)  # Nothing is written of a video that shows nothing.
            folder.mkdir(parents=True, exist_ok=True)
            rows = display.through(frame[None] for frame in itertools.chain([first], frames))
            write_arrays(file, {_FRAMES: Pieces(one.shape, np.dtype(np.uint8), rows)})


def _say_size(videos: Collection[video.Video], folder: Path, source: str) -> None:
    """Says what will be decoded, and refuses what the disk has no room for."""
    size = sum(math.prod(one.shape) for one in videos)
    sizes = sorted({one.shape[1:3] for one in videos})
    words = (
        f"{source}: {sum(len(one.times) for one in videos):,} frames of {len(videos)} videos, "
        f"{', '.join(f'{height} x {width}' for height, width in sizes)} pixels, "
        f"{size / 1e6:,.1f} MB"
    )
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise ValueError(
            f"{words}, would be decoded into {folder}, where {free / 1e6:,.1f} MB are free: give "
            "them a smaller size by resize (--resize 96 96), make room, or set $XDG_CACHE_HOME"
        )
    complain(f"{words}, are decoded once, into {folder}")


def _verified(file: Path, one: video.Video) -> Member:
    """The frames of a file of the cache, all of whose bytes are read once."""
    try:
        member = find_members(file, required=(_FRAMES,))[_FRAMES]
        if (member.shape, member.dtype) != (one.shape, np.dtype(np.uint8)):
            raise ValueError(f"{file}: it holds {member.shape} of {member.dtype}")
        for _ in member.pieces(max(1, 2**23 // math.prod(one.shape[1:]))):
            pass
    except ValueError as error:
        raise ValueError(
            f"{error} It holds frames that were decoded of {one.path}: delete it, and they are "
            "decoded again"
        ) from error
    return member
