"""The runs of a sweep one after the other in this process, where Ray is not installed."""

from collections.abc import Callable
from pathlib import Path

from floq.sweeps.job import describe_job, do_job
from floq.sweeps.plan import PlannedRun
from floq.sweeps.queue import Queue
from floq.training.signals import interruptions, stopped_at
from floq.workers import available_cores


def run_in_turn(
    queue: Queue,
    directory: Path,
    *,
    data: Path,
    deadline: float | None,
    note: Callable[[PlannedRun, str], None],
) -> None:
    """Does every run that the queue hands out, with all of the machine.

    Args:
        queue: The runs.
        directory: The sweep's folder.
        data: Folder of the dataset files.
        deadline: When to save and stop, in seconds since the epoch; None when all is done.
        note: Called when a run has ended, with the reason if it failed.

    Raises:
        KeyboardInterrupt: If a signal asked to stop; the run is saved.
    """
    # One request for all runs, so that a signal between two of them is seen as well.
    with stopped_at(deadline), interruptions() as stop:
        while not stop() and (run := queue.next()) is not None:
            cores = float(available_cores())
            job = describe_job(directory, run, data=data, cpus=cores, gpus=0.0, deadline=deadline)
            failure = do_job(job)
            queue.ended(run.name, failure or None)
            note(run, failure)
        if stop.asked:
            raise KeyboardInterrupt
