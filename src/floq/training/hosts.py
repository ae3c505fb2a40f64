"""Several processes, on one host or on many, that train one run together.

Each of them runs the same program on its own devices, and all of them see the devices of all. So
whatever decides what is computed next must be the same everywhere: numbers that a process measures
or is told by itself, such as a rate or a signal, go through `from_all`. Files are written by the
first process alone.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Given = TypeVar("Given")

AUTO = "auto"
"""In place of the coordinator's address: the cluster's scheduler knows it."""


@contextlib.contextmanager
def joined(
    coordinator: str, *, hosts: int | None = None, host: int | None = None
) -> Iterator[None]:
    """Joins the other processes, before anything is computed; waits until all are there.

    Where the body fails, this process ends without waiting for the others.

    Args:
        coordinator: Address HOST:PORT at which the first process listens for the others, and at no
            other; the same for all. "auto" asks the scheduler, such as SLURM, for everything.
        hosts: Processes in all.
        host: Number of this one, from 0.

    Raises:
        ValueError: If the numbers are missing or out of their range.
        RuntimeError: If the others do not come, or something was computed already.
    """
    if coordinator == AUTO:
        if (hosts, host) != (None, None):
            raise ValueError(
                f"coordinator is auto, which finds hosts ({hosts}) and host ({host}) itself: leave "
                "them out, or give the coordinator as HOST:PORT."
            )
        settings: dict[str, Any] = {}
    else:
        if hosts is None or host is None or not 0 <= host < hosts:
            raise ValueError(
                f"coordinator is {coordinator}, hosts is {hosts} and host is {host}: give the "
                "number of all processes and this one's own, from 0 to one below that."
            )
        name, colon, port = coordinator.rpartition(":")
        if not (name and colon and port.isdecimal()):
            raise ValueError(
                f"coordinator is {coordinator!r}: give HOST:PORT, such as 127.0.0.1:8476, or auto."
            )
        settings = {
            "coordinator_address": coordinator,
            "num_processes": hosts,
            "process_id": host,
            # By default jax would listen at all of the machine's addresses.
            "coordinator_bind_address": coordinator,
        }
    # jax takes SIGTERM for a service of its own, which nobody asks here.
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(**settings)
    if in_main:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    except BaseException:
        # jax would wait at the exit, for minutes, for the others, who wait for this process.
        atexit.register(_leave)
        raise


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def is_first() -> bool:
    """Whether this process is the one that writes files: the only one, as a rule."""
    return jax.process_index() == 0


def from_all(value: int) -> list[int]:
    """What every process gives, in their order; each must ask. Numbers are below 2³¹."""
    if jax.process_count() == 1:
        return [int(value)]
    return multihost_utils.process_allgather(np.int32(value)).tolist()


def on_first(action: Callable[[], Given]) -> Given | None:
    """Has the first process do something while the others, which get None, wait.

    Raises:
        RuntimeError: In the others, if it failed in the first one.
    """
    failed = is_first()
    try:
        result = action() if is_first() else None
        failed = False
    finally:
        failed = any(from_all(failed))
    if failed:
        raise RuntimeError("The first process has failed: it says why.")
    return result


def check_agreement(content: bytes, *, what: str) -> None:
    """Refuses to go on if processes have different contents.

    Raises:
        ValueError: In all of them, if so.
    """
    if len(set(from_all(zlib.crc32(content) >> 1))) > 1:
        raise ValueError(
            f"the processes that train together have different {what}: start each of them with "
            "the same command, data and version, on folders that all of them see."
        )


def fetch(tree: Any) -> Any:
    """Arrays that lie over the devices of all processes, in full; each must ask."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)
