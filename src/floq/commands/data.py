"""`floq data`: datasets are made, fetched, checked and described."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Generate:
    """Collect a dataset with OGBench's own controllers and settings.

    Attributes:
        name: Dataset, such as cube-double-play-v0.
        episodes: Training trajectories (and a tenth of it for validation); as published by
            default.
        processes: Processes that collect at the same time; they do not change the data.
        seed: Seed of the data.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
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
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
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
class Check:
    """Check everything in a dataset's files, and name the first fault.

    Attributes:
        target: Dataset, task, or the path of one file.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    target: tyro.conf.Positional[str]
    directory: Path | None = None

    def run(self) -> int:
        """Prints a line a file; 1 if one has a fault."""
        from floq.data.info import check

        faults = check(self.target, directory=self.directory)
        for path, fault in faults.items():
            print(f"FAULT  {fault}" if fault else f"sound  {path}")
        return 1 if any(faults.values()) else 0


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a dataset's files hold.

    Attributes:
        target: Dataset, task, or the path of one file.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    target: tyro.conf.Positional[str]
    directory: Path | None = None

    def run(self) -> int:
        """Prints a table a file."""
        from floq.data.info import describe

        for path, facts in describe(self.target, directory=self.directory).items():
            print(path)
            for name, value in facts.items():
                print(f"  {name:26s} {value}")
        return 0
