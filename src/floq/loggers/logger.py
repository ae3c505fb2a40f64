"""What a logger is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
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
