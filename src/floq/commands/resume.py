"""`floq resume`: a run that was cut goes on."""

import dataclasses
from pathlib import Path

import tyro

from floq.commands.training import (
    EnvironmentOptions,
    HostOptions,
    LoggerName,
    Sources,
    data_file,
    say_done,
)
from floq.data.reading import Reading


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was cut, to the same bits as an uncut one.

    Attributes:
        directory: The run.
        steps: Updates on its data alone, in all, if not those that it was started with.
        online_steps: Steps in the environment, of each seed, in all, likewise.
        data: The source of the run's data, if it has moved or the run does not know it.
        reading: How it is read, likewise.
        where: Its environment, if it has moved or changed.
        processes: Processes that step environments; by default one for each core.
        logger: Where else the rows of the run are shown: tensorboard, wandb, or both.
        together: How processes find each other that train this run together.
    """

    directory: tyro.conf.Positional[Path]
    steps: int | None = None
    online_steps: int | None = None
    data: Sources = ()
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    where: tyro.conf.OmitArgPrefixes[EnvironmentOptions] = EnvironmentOptions()
    processes: int | None = None
    logger: tuple[LoggerName, ...] = ()
    together: tyro.conf.OmitArgPrefixes[HostOptions] = HostOptions()

    def run(self) -> int:
        """Goes on with the run."""
        from floq.training import resume

        with self.together.joined():
            return say_done(
                resume(
                    self.directory,
                    dataset=data_file(self.data, self.reading, self.where.bounds),
                    env=self.where.spec(),
                    steps=self.steps,
                    online_steps=self.online_steps,
                    processes=self.processes,
                    loggers=self.logger,
                ),
                loggers=self.logger,
            )
