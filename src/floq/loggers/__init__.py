"""Where the rows of a run are shown beside its files: TensorBoard, W&B, or a class of the user's."""

from floq.loggers.common import LOGGERS as LOGGERS
from floq.loggers.common import Logger as Logger
from floq.loggers.common import find_loggers as find_loggers
from floq.loggers.following import Following as Following
from floq.loggers.following import replay as replay

__all__ = ["LOGGERS", "Following", "Logger", "find_loggers", "replay"]
