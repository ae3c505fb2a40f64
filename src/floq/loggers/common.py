"""What a logger is, and those that have a name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from floq.extras import require_extra

LOGGERS = ("tensorboard", "wandb")
"""Those that have a name, which is that of their extra, too."""


class Logger(Protocol):
    """Somewhere to show a run while it trains. Derive from it, and fill what is of use.

    The run's files are the truth, and a logger is told what they hold: at each start, that of a
    resume too, everything from the run's first row on. So one that keeps what it is told begins
    anew in `start`, and what came after the checkpoint that a resume goes on from is gone.

    What a method raises is said once, as a warning; the logger is then left alone, and training
    goes on.

    Example:
        >>> import floq
        >>> class Printing(floq.Logger):
        ...     def log(self, step, row):
        ...         print(step, row)
        >>> floq.train(config, dataset, directory="runs/it", loggers=[Printing()])  # doctest: +SKIP
    """

    def start(self, directory: Path, config: Mapping[str, Any]) -> None:
        """Begins a run, or again.

        Args:
            directory: The run's folder, in which a logger may keep files.
            config: What its `config.json` holds.
        """

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Takes figures of a step, by name; a step may come several times, with other names.

        Args:
            step: Steps of the run that are done: updates, and online steps after them.
            row: Such as `critic/flow_loss` or `evaluation/success`. With several seeds these are
                their means, and `seed_3/critic/flow_loss` is a seed's own.
        """

    def show(self, step: int, name: str, frames: np.ndarray) -> None:
        """Takes a picture, or a video, once training is done.

        Args:
            step: As in `log`.
            name: What is to be seen, such as "report/value along" or "rollout".
            frames: uint8 [frames, height, width, 3]; a single frame is a picture.
        """

    def close(self) -> None:
        """Ends; nothing follows."""


def find_loggers(loggers: Sequence[Logger | str]) -> list[Logger]:
    """The loggers, those with a name made.

    Raises:
        ValueError: If there is no such name, or something is no logger.
        MissingExtraError: If the packages of one are not installed.
    """
    return [_find(one) for one in ([loggers] if isinstance(loggers, str) else loggers)]


def _find(logger: Logger | str) -> Logger:
    if isinstance(logger, str):
        if logger not in LOGGERS:
            known = " and ".join(LOGGERS)
            raise ValueError(f"no logger is called {logger!r}: there are {known}.")
        require_extra(logger)
        if logger == "wandb":
            from floq.loggers.wandb import Wandb

            return Wandb()
        from floq.loggers.tensorboard import TensorBoard

        return TensorBoard()
    missing = [name for name in ("start", "log", "show", "close") if not hasattr(logger, name)]
    if missing or isinstance(logger, type):
        lacks = f"it has no {missing[0]}" if missing else "it is a class"
        raise ValueError(
            f"{logger!r} is no logger, since {lacks}: give an instance of a class derived from "
            f"floq.Logger, or a name ({', '.join(LOGGERS)})."
        )
    return logger
