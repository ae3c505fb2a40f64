"""`floq resume`: a run that was cut goes on."""

import dataclasses
from pathlib import Path

import tyro

from floq.commands.training import HostOptions, run_training


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was cut, to the same bits as an uncut one.

    Attributes:
        directory: The run.
        steps: Steps in all, offline and online, if not those that it was started with.
        processes: Processes that step environments; by default one for each core.
        together: How processes find each other that train this run together.
    """

    directory: tyro.conf.Positional[Path]
    steps: int | None = None
    processes: int | None = None
    together: tyro.conf.OmitArgPrefixes[HostOptions] = HostOptions()

    def run(self) -> int:
        """Goes on with the run."""
        from floq.training import resume

        with self.together.joined():
            return run_training(
                lambda: resume(self.directory, steps=self.steps, processes=self.processes)
            )
