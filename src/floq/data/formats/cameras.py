"""The videos of a LeRobot set: which frames of which files an episode's rows show."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.formats import tables
from floq.data.formats.decoded import decoded
from floq.data.formats.video import Video
from floq.data.npz import Member

_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,200}")
_FIELDS = ("chunk_index", "file_index", "from_timestamp")
_MOST_RATE = 1000


class Cameras(NamedTuple):
    """The decoded frames of a set's videos.

    Attributes:
        places: By feature and episode, the frames of a file, and the numbers of those that the
            episode's rows show.
    """

    places: Mapping[tuple[str, int], tuple[Member, np.ndarray]]

    @classmethod
    def decoded(
        cls,
        path: Path,
        info: dict[str, Any],
        times: Mapping[int, np.ndarray],
        sizes: Mapping[str, tuple[int, ...]],
        resize: tuple[int, int] | None,
    ) -> "Cameras":
        """The frames of all episodes; those that are not in the cache are decoded.

        Args:
            path: The folder of the set.
            info: Its description.
            times: Of each episode, the time of each row since its beginning, in seconds, float64.
            sizes: Height and width of each feature that is a video.
            resize: Height and width that frames are given.

        Raises:
            FileNotFoundError: A video is not there.
            ValueError: One is damaged, or does not belong to the rows.
            OSError: The disk has no room for the frames.
            MissingExtraError: PyAV is not installed.
        """
        if not sizes:
            return cls({})
        rate = info.get("fps")
        if not isinstance(rate, int | float) or not 0 < rate <= _MOST_RATE:
            raise ValueError(f"{path}/meta/info.json: fps is {rate!r}: give frames a second")
        if info.get("video_path", _PATH) != _PATH:
            raise ValueError(
                f"{path}/meta/info.json: video_path is {info['video_path']!r}, and floq reads sets "
                f"of v3.0, whose videos lie at {_PATH}"
            )
        videos, owners = list[Video](), list[list[tuple[tuple[str, int], np.ndarray]]]()
        for name, size in sizes.items():
            for file, shown in _files(path, name, times).items():
                video, ranks = _video(file, shown, (size[0], size[1]), float(rate), resize)
                videos.append(video)
                owners.append([((name, number), own) for number, own in ranks.items()])
        members = decoded(videos, source=str(path))
        return cls(
            {
                key: (member, own)
                for member, some in zip(members, owners, strict=True)
                for key, own in some
            }
        )

    def frames(self, name: str, episode: int) -> np.ndarray:
        """What a feature shows in the rows of an episode, uint8 (rows, height, width, 3)."""
        member, own = self.places[name, episode]
        first = int(own.min())
        return member.rows(first, int(own.max()) + 1)[own - first]


def _files(
    path: Path, name: str, times: Mapping[int, np.ndarray]
) -> dict[Path, dict[int, np.ndarray]]:
    """The files of a feature, and when each shows the rows of its episodes."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{path}/meta/info.json: a feature is called {name!r}, which cannot be that of a folder"
        )
    columns = [f"videos/{name}/{field}" for field in _FIELDS]
    found: dict[Path, dict[int, np.ndarray]] = {}
    listed = set[int]()
    for table in sorted((path / "meta" / "episodes").glob("*/*.parquet")):
        rows = tables.read(table, ["episode_index", *columns])
        numbers, chunks, files, begins = (
            rows.array(column, ()) for column in ("episode_index", *columns)
        )
        for number, chunk, file, begin in zip(numbers, chunks, files, begins, strict=True):
            if number not in times:
                continue
            place = _PATH.format(video_key=name, chunk_index=int(chunk), file_index=int(file))
            found.setdefault(path / place, {})[int(number)] = times[int(number)] + float(begin)
            listed.add(int(number))
    if missing := sorted(times.keys() - listed):
        raise ValueError(
            f"{path}: no file under meta/episodes says where {name} shows episode {missing[0]}, "
            f"nor {len(missing) - 1} others: it was cut short"
        )
    return found


def _video(
    file: Path,
    shown: Mapping[int, np.ndarray],
    size: tuple[int, int],
    rate: float,
    resize: tuple[int, int] | None,
) -> tuple[Video, dict[int, np.ndarray]]:
    """A file with its frames in order, and the places of those of each episode's rows."""
    times = np.concatenate([*shown.values()])
    if not np.isfinite(times).all():
        raise ValueError(f"{file}: the tables say that a row is shown at no finite time")
    order = np.argsort(times, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    lengths = [len(own) for own in shown.values()]
    owners, rows = np.repeat([*shown], lengths), np.concatenate([*map(np.arange, lengths)])

    def row(number: int) -> str:
        return f"row {rows[order[number]]} of episode {owners[order[number]]}"

    video = Video(file, size, rate, times[order], row, resize)
    own = np.split(ranks, np.cumsum(lengths)[:-1])
    return video, dict(zip(shown, own, strict=True))
