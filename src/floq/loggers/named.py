"""The loggers that have a name."""

from collections.abc import Iterable
from typing import Any

from floq.extras import require_extra
from floq.loggers.logger import Logger
from floq.loggers.tensorboard import TensorBoard
from floq.loggers.wandb import Wandb

LOGGERS: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "wandb": Wandb}
"""They; a name is that of the extra, too."""


def find_loggers(loggers: Any) -> list[Logger]:
    """The loggers, those with a name made; one that is in no list is a list of one.

    Raises:
        ValueError: If there is no such name, or something is no logger.
        MissingExtraError: If the packages of one are not installed.
    """
    is_alone = isinstance(loggers, str) or not isinstance(loggers, Iterable)
    return [_find(one) for one in ([loggers] if is_alone else loggers)]


def _find(logger: Any) -> Logger:
    if isinstance(logger, str):
        if logger not in LOGGERS:
            known = " and ".join(LOGGERS)
            raise ValueError(f"no logger is called {logger!r}: there are {known}.")
        require_extra(logger)
        return LOGGERS[logger]()
    if isinstance(logger, type) or not isinstance(logger, Logger):
        raise ValueError(
            f"{logger!r} is no logger: give an instance of a class that derives from floq.Logger, "
            f"or a name ({', '.join(LOGGERS)})."
        )
    return logger
