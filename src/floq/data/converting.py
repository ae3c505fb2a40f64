"""Data of other formats as a folder of floq's own files, written some episodes at a time."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from floq.data.bounds import ActionBounds
from floq.data.dataset import Dataset
from floq.data.files import DatasetFile, read_file
from floq.data.formats import Source, find_source, format_for
from floq.data.formats.episodes import Episode, Stream, together
from floq.data.formats.ogbench import training_files
from floq.data.reading import Reading
from floq.disk import sync_path, user_path
from floq.progress import ProgressDisplay

SHARD_BYTES = 2**27
"""Bytes of episodes that are held, and then written as one file."""


def convert(
    source: str | Path | Source,
    destination: str | Path,
    *,
    reading: Reading = Reading(),
    bounds: ActionBounds | None = None,
) -> int:
    """Writes data as a folder of floq's own files, which is read as one, and streamed.

    The memory that it takes is that of a file, where the source's episodes come one by one: of
    Minari, robomimic, LeRobot and folders of shards. A crash leaves no folder.

    Args:
        source: As `floq.Dataset.load` takes it.
        destination: The new folder.
        reading: How the source is read, where its files leave that open.
        bounds: What its actions lie within, where it does not say.

    Returns:
        The number of transitions.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: It is damaged, or unsound, or the destination is there already.
        OSError: The disk does not take it.
        MissingExtraError: A package is missing that reads the source.
    """
    found, destination = find_source(source), user_path(destination)
    if destination.exists():
        raise ValueError(f"{destination} is there already: give another name")
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    transitions = 0
    try:
        partial.mkdir(parents=True)
        for number, file in enumerate(_groups(found, reading)):
            dataset = Dataset.from_file(file, found.path, reading, given=bounds)
            dataset.save(partial / f"{destination.name}-{number:05d}.npz")
            transitions += dataset.size
        sync_path(partial)
        partial.replace(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return transitions


def _groups(source: Source, reading: Reading) -> Iterator[DatasetFile]:
    """The data in parts of whole trajectories, of the size of a file where they come apart."""
    format = format_for(source, reading)
    if source.format == "ogbench" and source.path.is_dir():
        yield from map(read_file, training_files(source.path))
    elif hasattr(format, "stream"):
        yield from _some(format.stream(source.path, reading))
    else:
        yield format.read(source.path, reading)


def _some(stream: Stream) -> Iterator[DatasetFile]:
    """Some episodes at a time, put together."""
    held, size, done = list[Episode](), 0, 0
    with ProgressDisplay(stream.total, bar=True, unit="episodes") as display:
        display.note(f"converting {stream.path.name}")
        for episode in display.through(stream.episodes, size=lambda _: 1):
            held.append(episode)
            size, done = size + episode.nbytes, done + 1
            if size >= SHARD_BYTES:
                yield together(stream._replace(episodes=iter(held)))
                held, size = [], 0
        if held or not done:  # Without an episode, which is refused.
            yield together(stream._replace(episodes=iter(held)))
