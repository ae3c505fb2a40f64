"""The collecting processes, seen from the process that starts them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import IO, NamedTuple

from floq.data.generation.parts import Part
from floq.data.generation.recipes import Recipe

_SHOWN_LINES = 15
"""Lines of a failed process's standard error that its message shows."""


class _Worker(NamedTuple):
    process: subprocess.Popen[str]
    errors: IO[bytes]


def collect_parts(
    parts: Sequence[Part],
    *,
    recipe: Recipe,
    seed: int,
    processes: int,
    advance: Callable[[int], None],
) -> None:
    """Collects and writes `parts`, and stops all processes however it ends.

    Args:
        parts: What to collect.
        recipe: The dataset's settings.
        seed: The run's seed.
        processes: Processes among which the parts are shared.
        advance: Called with the rows of each collected episode.

    Raises:
        RuntimeError: If a process fails; the message ends with its last lines of output.
    """
    shares = [parts[k::processes] for k in range(min(processes, len(parts)))]
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as events, ExitStack() as stack:
        # All write to one pipe, whose end is the end of them all.
        with os.fdopen(write_end, "w") as output:
            workers = [_start(share, recipe, seed, output, stack) for share in shares]
        for line in events:
            advance(json.loads(line)["rows"])
            _check(workers)
        for worker in workers:
            worker.process.wait()
        _check(workers)


def _start(
    parts: Sequence[Part], recipe: Recipe, seed: int, output: IO[str], stack: ExitStack
) -> _Worker:
    errors = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-P", "-m", "floq.data.generation.worker"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            text=True,
            # Its matrices are tiny: a second thread only takes a core from another process.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    )
    # Leaving the stack kills first and waits then; finished parts stay.
    stack.callback(process.kill)
    assert process.stdin is not None
    job = {
        "recipe": asdict(recipe),
        "seed": seed,
        "parts": [(part.start, part.stop, str(part.path)) for part in parts],
    }
    # A process that died already is reported by its exit status. Its input stays open: the end of
    # it is how a process learns that its parent is gone.
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
    return _Worker(process, errors)


def _check(workers: Sequence[_Worker]) -> None:
    for process, errors in workers:
        status = process.poll()
        if status:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").splitlines()[-_SHOWN_LINES:]
            raise RuntimeError(
                f"A collecting process ended with status {status}. Finished parts are kept: the "
                f"same call continues from them. Its last output:\n" + "\n".join(lines)
            )
