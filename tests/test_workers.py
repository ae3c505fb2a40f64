"""Processes that do a part of a job."""

import os
import time
from contextlib import ExitStack

import pytest

from floq.workers import start_worker

WORKER = """
import os, sys, time
from floq.workers import receive_job
job = receive_job(lambda: os._exit(3))
print("\\n".join(str(number) for number in range(job["lines"])), file=sys.stderr, flush=True)
time.sleep(60)
"""


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "toy_worker.py").write_text(WORKER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path}


def start(stack, environment):
    worker = start_worker("toy_worker", {"lines": 20}, stack, environment=environment)
    while "19" not in worker.last_lines() and worker.process.poll() is None:
        time.sleep(0.05)
    return worker


def test_a_worker_has_its_job_and_ends_with_the_process_that_started_it(environment):
    """Its last lines can be read while it works; the end of its input is its own."""
    with ExitStack() as stack:
        worker = start(stack, environment)
        assert worker.last_lines().split() == [str(number) for number in range(5, 20)]
        assert worker.process.poll() is None
        worker.process.stdin.close()
        assert worker.process.wait(timeout=30) == 3


def test_a_worker_does_not_outlive_its_stack(environment):
    """Leaving the stack kills it."""
    with ExitStack() as stack:
        worker = start(stack, environment)
    assert worker.process.poll() == -9
