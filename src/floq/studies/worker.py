"""A process that computes one variant of a study: `python -m floq.studies.worker`.

Its job is one line of JSON on its standard input; what it comes to are the cells that it writes.
It saves and stops where the process that started it is gone.
"""

import os
import signal
import sys
from pathlib import Path

from floq.interrupted import Interrupted
from floq.shell import EXIT_INTERRUPTED
from floq.workers import receive_job


def main() -> int:
    """Computes the cells of the job; 75 if it was asked to stop, 1 if it failed."""
    job = receive_job(lambda: os.kill(os.getpid(), signal.SIGTERM))
    # Before XLA counts the cores for its threads: small products gain nothing from a second one.
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])

    from floq.studies.grounds import compute_cells, create_ground, find_study

    field = create_ground(job["ground"], job["size"], job["task"], job["updates"])
    (variant,) = (
        variant
        for variant in field.variants(find_study(job["study"]))
        if variant.name == job["variant"]
    )
    try:
        for _ in compute_cells(field, variant, job["seeds"], Path(job["directory"])):
            pass
    except Interrupted:
        return EXIT_INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
