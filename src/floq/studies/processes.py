"""The processes that compute a study's variants side by side, as the study sees them."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from floq.workers import Worker, start_worker

_POLL_SECONDS = 0.5
_SAVING_SECONDS = 60.0


def compute_side_by_side(
    jobs: Sequence[dict[str, Any]], *, processes: int, should_stop: Callable[[], bool]
) -> Iterator[list[str]]:
    """Computes each job in a process of its own, some at a time, each with its share of the cores.

    Args:
        jobs: What `floq.studies.worker` is told, but for the cores.
        processes: Processes at a time.
        should_stop: Once true, all processes save what they have, and nothing else is started.

    Yields:
        The variants that are being computed, twice a second.

    Raises:
        RuntimeError: If a process fails; the others save what they have, and the message ends with
            its last lines of output.
    """
    shares = _shares(processes)
    waiting, running = deque(jobs), {}
    with ExitStack() as stack:
        try:
            while (waiting or running) and not should_stop():
                for place in range(processes):
                    if place not in running and waiting:
                        job = {**waiting.popleft(), "cores": shares[place]}
                        running[place] = job, _start(job, stack)
                yield [job["variant"] for job, _ in running.values()]
                time.sleep(_POLL_SECONDS)
                for place, (job, worker) in list(running.items()):
                    status = worker.process.poll()
                    if status:
                        raise RuntimeError(
                            f"The process that computed {job['variant']} ended with status "
                            f"{status}. What is finished is kept: the same call continues from "
                            f"it. Its last output:\n{worker.last_lines()}"
                        )
                    if status == 0:
                        del running[place]
        finally:
            _stop([worker for _, worker in running.values()])


def _start(job: dict[str, Any], stack: ExitStack) -> Worker:
    # Ctrl-C is for the study, which lets its workers save.
    return start_worker("floq.studies.worker", job, stack, own_session=True)


def _stop(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + _SAVING_SECONDS
    while time.monotonic() < deadline and any(w.process.poll() is None for w in workers):
        time.sleep(_POLL_SECONDS / 5)


def _shares(processes: int) -> list[list[int]]:
    """The cores of each process; none where they cannot be told apart, or are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < processes:
        return [[]] * processes
    return [cores[place::processes] for place in range(processes)]
