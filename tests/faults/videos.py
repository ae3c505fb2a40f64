"""Robots' videos made to hurt whoever reads them, and sets of them with a fault."""

import contextlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import av  # pyright: ignore[reportMissingImports]
import numpy as np

from floq.data.info import check_file
from floq.data.reading import Reading
from tests.data.formats.robot_videos import CAMERAS, RATE, write_set, write_video

SIZE = (32, 48)
FIRST = f"videos/{CAMERAS[0]}/chunk-000/file-000.mp4"
LAST = f"videos/{CAMERAS[1]}/chunk-000/file-001.mp4"
assert av.__version__  # What is loaded later would be seen by whoever watches the reading.


def read(folder: Path) -> object:
    """Checks a set, with a cache of its own beside it."""
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder.with_suffix(".cache"))}):
        return check_file(f"lerobot:{folder}", Reading(rewards="demonstrations"))


def _with_info(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = folder / "meta" / "info.json"
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))


def _with_table(folder: Path, column: str, value: Any) -> None:
    """Another value of the second episode in the table of episodes."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    file = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    values = table[column].to_pylist()
    values[1] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values)), file)


def _patched(folder: Path, *changes: tuple[bytes, bytes]) -> None:
    content = (folder / FIRST).read_bytes()
    for former, later in changes:
        assert len(former) == len(later)
        assert former in content
        content = content.replace(former, later)
    (folder / FIRST).write_bytes(content)


def _table(name: bytes, *numbers: int) -> bytes:
    return name + struct.pack(f">{len(numbers) + 1}I", 0, *numbers)


def _many_samples(folder: Path) -> None:
    _patched(folder, (_table(b"stts", 1, 10), _table(b"stts", 1, 2**31 - 1)))


def _lying_size(folder: Path) -> None:
    write_video(folder / FIRST, [50] * 10, size=(2048, 2048), preset="ultrafast", threads="1")
    height, width = SIZE
    in_track = (
        struct.pack(">2I", 2048 << 16, 2048 << 16),
        struct.pack(">2I", width << 16, height << 16),
    )
    in_sample = struct.pack(">2H", 2048, 2048), struct.pack(">2H", width, height)
    _patched(folder, in_track, in_sample)


def _put(content: bytes, size: int = 0) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / FIRST).write_bytes(content)
        if size:
            os.truncate(folder / FIRST, size)

    return spoil


def _cut(folder: Path) -> None:
    os.truncate(folder / FIRST, (folder / FIRST).stat().st_size // 2)


def _large(folder: Path) -> None:
    def change(info: dict[str, Any]) -> None:
        info["features"][CAMERAS[0]]["shape"] = [60_000, 60_000, 3]

    _with_info(folder, change)


def _outside(folder: Path) -> None:
    def change(info: dict[str, Any]) -> None:
        info["features"]["observation.images/../../../../etc"] = info["features"][CAMERAS[0]]

    _with_info(folder, change)


_FILE_TYPE = b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom"
_TERABYTE = 2**40
_HARMS: dict[str, Callable[[Path], Any]] = {
    "video: 2 · 10⁹ samples in a few bytes": _many_samples,
    "video: pictures of 2048 x 2048 that say 32 x 48": _lying_size,
    "video: pictures of 60,000 x 60,000": _large,
    "video: cut in the middle": _cut,
    "video: a pickle": _put(pickle.dumps(os.system)),
    "video: a list of other files": _put(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    "video: a terabyte of nothing": _put(b"", _TERABYTE),
    "video: a terabyte in one box": _put(
        _FILE_TYPE + struct.pack(">I4sQ", 1, b"mdat", _TERABYTE - 20), _TERABYTE
    ),
    "video: names that lead outside": _outside,
    "video: 10¹² frames": lambda folder: _with_info(
        folder, lambda info: info.update(total_frames=10**12)
    ),
    "video: code in place of a path": lambda folder: _with_info(
        folder, lambda info: info.update(video_path="{video_key.__class__.__mro__}.mp4")
    ),
    "video: a frame at the end of time": lambda folder: _with_table(
        folder, f"videos/{CAMERAS[0]}/from_timestamp", 1e300
    ),
    "video: the file of number 10¹⁸": lambda folder: _with_table(
        folder, f"videos/{CAMERAS[0]}/file_index", 10**18
    ),
}


def _case(harm: Callable[[Path], Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def spoil(run: Any) -> None:
        harm(write_set(run.data.with_suffix(""), size=SIZE))

    return spoil, lambda run: read(run.data.with_suffix(""))


CASES = {name: _case(harm) for name, harm in _HARMS.items()}


@contextlib.contextmanager
def sets(folder: Path) -> Iterator[Callable[[], Path]]:
    """Copies of a sound set, one at a time."""
    sound, place = write_set(folder / "sound", size=SIZE), folder / "robot"

    def copied() -> Path:
        for old in (place, place.with_suffix(".cache")):
            shutil.rmtree(old, ignore_errors=True)
        return shutil.copytree(sound, place)

    yield copied


def mutate(folder: Path, random: np.random.Generator) -> tuple[str, list[str]]:
    """Puts a fault into a set; what it is, and the words that must be said of it."""
    name = [FIRST, LAST][int(random.integers(2))]
    file, rows = folder / name, {FIRST: 10, LAST: 3}[name]
    kind = ["cut", "short", "size", "late", "gone", "other"][int(random.integers(6))]
    if kind == "cut":
        os.truncate(file, int(random.integers(file.stat().st_size)))
    elif kind == "short":
        length = int(random.integers(1, rows))
        write_video(file, [50] * length, size=SIZE)
        own = f"row {length - 4} of episode 1" if length >= 4 else f"row {length} of episode 0"
        return kind, [name, own if name == FIRST else f"row {length} of episode 2"]
    elif kind == "size":
        write_video(file, [50] * rows, size=(64, 64))
        return kind, [name, "64 x 64"]
    elif kind == "late":
        by = float(random.uniform(0.3, 0.45)) / RATE
        camera = name.split("/")[1]
        _with_table(folder, f"videos/{camera}/from_timestamp", 0.4 + by)
        return kind, [camera, "of episode 1"]
    elif kind == "gone":
        file.unlink()
    else:
        file.write_bytes(random.bytes(5_000))
    return kind, [name]
