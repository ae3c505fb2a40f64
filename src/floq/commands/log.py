"""`floq log`: a run that is done, in TensorBoard or W&B."""

import dataclasses
from pathlib import Path

import tyro

from floq.commands.training import LoggerName, say_logged


@dataclasses.dataclass(frozen=True)
class Log:
    """Show a run in TensorBoard or W&B, from its first row on.

    Attributes:
        directory: The run.
        to: Where: tensorboard, wandb, or both.
    """

    directory: tyro.conf.Positional[Path]
    to: tuple[LoggerName, ...]

    def run(self) -> int:
        """Tells the loggers everything."""
        from floq.loggers import find_loggers, replay

        failed = replay(self.directory, find_loggers(self.to))
        if not failed:
            print(f"{self.directory}: {', '.join(self.to)} has all of it.")
            say_logged(self.directory, self.to)
        return 2 if failed else 0
