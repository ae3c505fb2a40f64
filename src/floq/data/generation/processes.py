"""The collecting processes, seen from the process that starts them."""

import json
import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from floq.data.generation.parts import Part
from floq.data.generation.recipes import Recipe
from floq.workers import Worker, start_worker


def collect_parts(
    parts: Sequence[Part],
    *,
    recipe: Recipe,
    seed: int,
    processes: int,
) -> Generator[int, None, None]:
    """Collects and writes `parts`, and stops all processes however it ends.

    Args:
        parts: What to collect.
        recipe: The dataset's settings.
        seed: The run's seed.
        processes: Processes among which the parts are shared.

    Yields:
        The rows of each collected episode.

    Raises:
        RuntimeError: If a process fails; the message ends with its last lines of output.
    """
    shares = [parts[k::processes] for k in range(min(processes, len(parts)))]
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as events, ExitStack() as stack:
        # All write to one pipe, whose end is the end of them all.
        with os.fdopen(write_end, "w") as output:
            workers = [
                start_worker(
                    "floq.data.generation.worker",
                    {
                        "recipe": asdict(recipe),
                        "seed": seed,
                        "parts": [(part.start, part.stop, str(part.path)) for part in share],
                    },
                    stack,
                    output=output,
                    # Its matrices are tiny: a second thread only takes a core from another process.
                    environment={"OMP_NUM_THREADS": "1"},
                )
                for share in shares
            ]
        for line in events:
            yield json.loads(line)["rows"]
            _check(workers)
        for worker in workers:
            worker.process.wait()
        _check(workers)


def _check(workers: Sequence[Worker]) -> None:
    for worker in workers:
        status = worker.process.poll()
        if status:
            raise RuntimeError(
                f"A collecting process ended with status {status}. Finished parts are kept: the "
                f"same call continues from them. Its last output:\n{worker.last_lines()}"
            )
