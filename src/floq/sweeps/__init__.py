"""Sweeps: tasks × algorithms × settings × seeds, or a search, finished whatever is killed."""

from pathlib import Path

from floq.data.paths import data_directory
from floq.disk import user_path
from floq.runs.locks import hold
from floq.sweeps.plan import PlannedRun
from floq.sweeps.queue import Queue, forecast
from floq.sweeps.spec import Spec, read_spec
from floq.sweeps.table import write_table
from floq.tasks import require_task

__all__ = ["Spec", "forecast", "read_spec", "sweep"]


def sweep(
    spec: Spec, directory: str | Path, *, address: str | None = None
) -> tuple[Path, dict[str, str]]:
    """Finishes every run of a sweep, and writes its table.

    Called again, it leaves finished runs as they are, resumes those that are begun, and starts the
    rest: what is done is read from the run directories alone.

    Args:
        spec: What to run.
        directory: The sweep's folder, which holds the run directories.
        address: An existing Ray cluster; None starts one on this machine.

    Returns:
        The table, and why runs failed, by name.

    Raises:
        ValueError: If a setting is not one, or a folder holds a run of other settings.
        FileNotFoundError: If a task's data is not there.
        RuntimeError: If another process is at work on the sweep, or Ray is not there.
        KeyboardInterrupt: If a signal asked to stop: nothing is lost.
    """
    from floq.sweeps.cluster import run_all

    directory = user_path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory, what="running a sweep"):
        queue = Queue(spec, directory)
        for task in {run.task for run in queue.left}:
            require_task(task)
        count = {"ended": 0}

        def note(run: PlannedRun, failure: str) -> None:
            count["ended"] += 1
            print(f"[{count['ended']}] {run.name}: {failure or 'finished'}", flush=True)

        print(f"{directory}: {len(queue.runs):,} runs are planned, {len(queue.left):,} are left.")
        try:
            if queue.left:
                run_all(
                    queue,
                    directory,
                    data=data_directory(),
                    resources=spec.resources,
                    address=address,
                    note=note,
                )
        finally:
            # Also if it was stopped: the table says what is begun.
            table = write_table(directory, queue.runs)
        return table, queue.failures
