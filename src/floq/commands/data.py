"""`floq data`: datasets are made, fetched, checked and described."""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from floq.commands.training import BoundsOptions
from floq.data.reading import Reading


@dataclasses.dataclass(frozen=True)
class Generate:
    """Collect a dataset with OGBench's own controllers and settings.

    Attributes:
        name: Dataset, such as cube-double-play-v0.
        episodes: Training trajectories (and a tenth of it for validation); as published by
            default.
        processes: Processes that collect at the same time; they do not change the data.
        seed: Seed of the data.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default. In another one
            `floq train` finds them where FLOQ_DATA names it.
    """

    name: tyro.conf.Positional[str]
    episodes: int | None = None
    processes: int = 1
    seed: int = 0
    directory: Path | None = None

    def run(self) -> int:
        """Collects the data; run again, it goes on where it was cut."""
        from floq.data.generation import generate
        from floq.data.paths import data_directory

        path = generate(
            self.name,
            episodes=self.episodes,
            processes=self.processes,
            seed=self.seed,
            directory=self.directory or data_directory(),
        )
        print(path)
        return 0


@dataclasses.dataclass(frozen=True)
class Download:
    """Fetch a published dataset; a call that was cut goes on.

    Attributes:
        name: Dataset, such as antmaze-large-navigate-v0.
        mirror: Addresses of folders to try, in turn, in place of the known ones.
        sha256: Expected checksum of the training file, in hexadecimal.
        timeout: Seconds without a byte after which a connection is given up.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default. In another one
            `floq train` finds them where FLOQ_DATA names it.
    """

    name: tyro.conf.Positional[str]
    mirror: tuple[str, ...] = ()
    sha256: str | None = None
    timeout: float = 30.0
    directory: Path | None = None

    def run(self) -> int:
        """Fetches both files."""
        from floq.data.download import download
        from floq.data.paths import dataset_files

        training, _ = dataset_files(self.name, directory=self.directory)
        files = download(
            self.name,
            directory=self.directory,
            mirrors=self.mirror or None,
            checksums={training.name: self.sha256} if self.sha256 else None,
            timeout=self.timeout,
        )
        print("\n".join(map(str, files)))
        return 0


@dataclasses.dataclass(frozen=True)
class _Read:
    """What is read.

    Attributes:
        target: Dataset, task, or a source: a path, minari:NAME, d4rl:PATH, robomimic:PATH,
            lerobot:PATH or ogbench:NAME.
        directory: Folder of a dataset's files; $FLOQ_DATA or ~/.ogbench/data by default.
        reading: How a source is read, where its files leave that open.
        actions: What its actions lie within, where it does not say.
    """

    target: tyro.conf.Positional[str]
    directory: Path | None = None
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    actions: tyro.conf.OmitArgPrefixes[BoundsOptions] = BoundsOptions()


@dataclasses.dataclass(frozen=True)
class Check(_Read):
    """Check everything in a dataset's files, and name the first fault."""

    def run(self) -> int:
        """Prints a line a file; 1 if one has a fault."""
        from floq.data.info import check

        choices = {"reading": self.reading, "bounds": _bounds(self.actions)}
        faults = check(self.target, directory=self.directory, **choices)
        for path, fault in faults.items():
            print(f"FAULT  {fault}" if fault else f"sound  {path}")
        return 1 if any(faults.values()) else 0


@dataclasses.dataclass(frozen=True)
class Info(_Read):
    """Say what a dataset's files hold."""

    def run(self) -> int:
        """Prints a table a file."""
        from floq.data.info import describe

        choices = {"reading": self.reading, "bounds": _bounds(self.actions)}
        for path, facts in describe(self.target, directory=self.directory, **choices).items():
            print(path)
            for name, value in facts.items():
                print(f"  {name:26s} {value}")
        return 0


@dataclasses.dataclass(frozen=True)
class Convert:
    """Write data of another format as files of floq's own, which say everything themselves.

    Attributes:
        source: A path, minari:NAME, d4rl:PATH, robomimic:PATH or lerobot:PATH.
        destination: New file, if its name ends with .npz; else a new folder of files, which are
            written and read some episodes at a time.
        reading: How the source is read, where its files leave that open.
        actions: What its actions lie within, where it does not say.
    """

    source: tyro.conf.Positional[str]
    destination: tyro.conf.Positional[Path]
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    actions: tyro.conf.OmitArgPrefixes[BoundsOptions] = BoundsOptions()

    def run(self) -> int:
        """Writes the file or folder, and names it."""
        from floq.data.converting import convert
        from floq.data.dataset import Dataset
        from floq.disk import writable

        if self.destination.exists():
            raise ValueError(f"{self.destination} is there already: give another name.")
        writable(self.destination)
        bounds = _bounds(self.actions)
        if self.destination.suffix == ".npz":
            named = {} if bounds is None else bounds.named
            dataset = Dataset.load(self.source, reading=self.reading, **named)
            self.destination.parent.mkdir(parents=True, exist_ok=True)
            dataset.save(self.destination)
            size = dataset.size
        else:
            size = convert(self.source, self.destination, reading=self.reading, bounds=bounds)
        print(f"{self.destination}: {size:,} transitions")
        return 0


def _bounds(actions: BoundsOptions) -> Any:
    from floq.data.bounds import ActionBounds

    return None if actions.bounds is None else ActionBounds(*actions.bounds)
