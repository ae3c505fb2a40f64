"""Where else the rows of a run are shown: TensorBoard, W&B, or a class of the user's."""

from floq.loggers.following import Following as Following
from floq.loggers.following import replay as replay
from floq.loggers.logger import Logger as Logger
from floq.loggers.named import LOGGERS as LOGGERS
from floq.loggers.named import find_loggers as find_loggers

__all__ = ["LOGGERS", "Following", "Logger", "find_loggers", "replay"]
