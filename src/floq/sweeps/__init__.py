"""Sweeps: tasks × algorithms × settings × seeds, or a search, finished whatever is killed."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from floq.data.paths import data_directory
from floq.disk import user_path
from floq.extras import is_installed
from floq.runs.locks import hold
from floq.streams import say
from floq.sweeps.plan import PlannedRun, standing
from floq.sweeps.queue import Queue, forecast
from floq.sweeps.spec import Spec, read_spec
from floq.sweeps.table import final_rows, write_table
from floq.tasks import require_task

__all__ = ["Outcome", "Spec", "forecast", "read_spec", "sweep"]


class Outcome(NamedTuple):
    """What a call came to.

    Attributes:
        table: The sweep's table.
        failures: Why runs failed, by name.
        left: Runs that another call would go on with.
    """

    table: Path
    failures: dict[str, str]
    left: int


def sweep(
    spec: Spec,
    directory: str | Path,
    *,
    address: str | None = None,
    minutes: float | None = None,
) -> Outcome:
    """Finishes every run of a sweep, or what fits a time, and writes its table.

    Called again, it leaves finished runs as they are, resumes those that are begun, and starts the
    rest: what is done is read from the run directories alone. Without Ray, runs are done one after
    the other in this process.

    Args:
        spec: What to run.
        directory: The sweep's folder, which holds the run directories.
        address: An existing Ray cluster; None starts one on this machine.
        minutes: Time after which runs save and stop; None finishes all.

    Raises:
        ValueError: If a setting is not one, a folder holds a run of other settings, or data of
            one's own is not sound or not of its environment.
        FileNotFoundError: If a task's data is not there.
        RuntimeError: If another process is at work on the sweep, or Ray is asked for and not there.
        KeyboardInterrupt: If a signal asked to stop: nothing is lost.
    """
    from floq.sweeps.cluster import run_all
    from floq.sweeps.turns import run_in_turn

    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes is {minutes}: give a number above 0, or leave it out.")
    deadline = None if minutes is None else time.time() + 60 * minutes
    directory = user_path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory, what="running a sweep"):
        queue = Queue(spec, directory)
        for run in {run.task: run for run in queue.left}.values():
            if run.data is not None:
                run.data.check(f"data.{run.task}")
            else:
                require_task(run.task, has_goals=run.goals is not None)
        count = {"ended": 0}

        def note(run: PlannedRun, failure: str) -> None:
            count["ended"] += 1
            how = "finished" if standing(directory, run).finished else "saved, not finished"
            say(f"[{count['ended']}] {run.name}: {failure or how}")

        say(f"{directory}: {len(queue.runs):,} runs are planned, {len(queue.left):,} are left.")
        shared: Any = {"data": data_directory(), "deadline": deadline, "note": note}
        try:
            if queue.left and address is None and not is_installed("sweep"):
                say('Ray is not installed (pip install "floq[sweep]"): runs are done in turn.')
                run_in_turn(queue, directory, **shared)
            elif queue.left:
                run_all(queue, directory, resources=spec.resources, address=address, **shared)
        finally:
            # Also if it was stopped: the table says what is begun.
            table = write_table(
                directory, [row for run in queue.runs for row in final_rows(directory, run)]
            )
        unfinished = [run for run in queue.runs if not standing(directory, run).finished]
        left = sum(run.name not in queue.failures for run in unfinished)
        return Outcome(table, queue.failures, left)
