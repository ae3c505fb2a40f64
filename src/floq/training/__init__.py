"""Training: loops, checkpoints and the directories that runs leave behind."""

from floq.interrupted import Interrupted
from floq.runs.directory import RunConfig
from floq.runs.run import Run, load_run
from floq.runs.settings import Online, Schedule
from floq.shell import EXIT_INTERRUPTED
from floq.training.finetune import finetune
from floq.training.loop import Diverged
from floq.training.train import resume, train

__all__ = [
    "EXIT_INTERRUPTED",
    "Diverged",
    "Interrupted",
    "Online",
    "Run",
    "RunConfig",
    "Schedule",
    "finetune",
    "load_run",
    "resume",
    "train",
]
