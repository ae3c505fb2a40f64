"""Training: loops, checkpoints and the directories that runs leave behind."""

from floq.training.finetune import finetune
from floq.training.loop import Diverged
from floq.training.offline import resume, train
from floq.training.run import Run, load_run
from floq.training.run_directory import Online, RunConfig, Schedule
from floq.training.signals import EXIT_INTERRUPTED, Interrupted

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
