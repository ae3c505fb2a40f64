"""`floq finetune`: an offline run goes on in its environment."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from floq.commands.training import (
    EnvironmentOptions,
    LoggerName,
    OnlineOptions,
    Sources,
    data_file,
    online_options,
    online_settings,
    say_done,
)
from floq.data.reading import Reading
from floq.runs.settings import Schedule


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Go on with an offline run in its environment, with networks, optimizer and all.

    Attributes:
        run_directory: The run's folder.
        steps: Steps in the environment, of each seed.
        directory: New folder; the run's with "-online" at its end by default.
        online: How it learns there.
        data: The source of the run's data, if it has moved or the run does not know it.
        reading: How it is read, likewise.
        where: The environment, if it is not the run's.
        processes: Processes that step environments; by default one for each core.
        logger: Where else the rows of the run are shown: tensorboard, wandb, or both.
        schedule: What happens at which environment steps.
    """

    run_directory: tyro.conf.Positional[Path]
    steps: Annotated[int, tyro.conf.arg(aliases=["--online-steps"])] = 2_000_000
    directory: Path | None = None
    online: OnlineOptions = online_options()  # pyright: ignore[reportInvalidTypeForm]
    data: Sources = ()
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    where: tyro.conf.OmitArgPrefixes[EnvironmentOptions] = EnvironmentOptions()
    processes: int | None = None
    logger: tuple[LoggerName, ...] = ()
    schedule: tyro.conf.OmitArgPrefixes[Schedule] = Schedule()

    def run(self) -> int:
        """Fine-tunes, and says where everything lies."""
        from floq.training import finetune

        return say_done(
            finetune(
                self.run_directory,
                online=online_settings(self.online, self.steps),
                directory=self.directory,
                dataset=data_file(self.data, self.reading, self.where.bounds),
                env=self.where.spec(),
                schedule=self.schedule,
                processes=self.processes,
                loggers=self.logger,
            ),
            loggers=self.logger,
        )
