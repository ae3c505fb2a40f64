"""Training in processes of its own, which get killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_algorithm

from floq.training import EXIT_INTERRUPTED, load_run
from floq.training.checkpoint import checkpoint_paths

SCRIPT = Path(tiny_algorithm.__file__)
STEPS = 30_000
ROWS = ("metrics.jsonl", "evaluations.jsonl")


def start(directory):
    command = [sys.executable, str(SCRIPT), str(directory), str(STEPS), "Pendulum-v1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(directory):
    process = start(directory)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def last_step(directory):
    paths = checkpoint_paths(directory / "checkpoints")
    return int(re.sub(r"\D", "", paths[-1].name)) if paths else 0


def wait_for_checkpoint_after(step, directory, process):
    while last_step(directory) <= step:
        assert process.poll() is None, "the process ended before it could be killed"
        time.sleep(0.002)


def results(directory):
    """Everything that must not depend on what happened on the way."""
    state = checkpoint_paths(directory / "checkpoints")[-1] / "state.safetensors"
    return [state.read_bytes(), *((directory / name).read_bytes() for name in ROWS)]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uncut") / "run"
    finish(directory)
    assert len(load_run(directory).metrics) == 2 * STEPS // tiny_algorithm.SCHEDULE.log_interval
    return results(directory)


def test_killed_at_random_times_it_ends_as_if_never_killed(uncut, tmp_path):
    """After SIGKILL, at any time in the middle of saving often, no bit of the end is different."""
    directory = tmp_path / "run"
    for _ in range(2):
        before = last_step(directory)
        process = start(directory)
        wait_for_checkpoint_after(before, directory, process)
        delay = random.uniform(0, 0.15)
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert before < last_step(directory) < STEPS, f"killed {delay} s after the first save"
    finish(directory)
    assert results(directory) == uncut


def test_signals_save_and_exit_with_75(uncut, tmp_path):
    """SIGINT and SIGTERM end the process within 10 s, with all saved and how to go on said."""
    directory = tmp_path / "run"
    for number in (signal.SIGINT, signal.SIGTERM):
        before = last_step(directory)
        process = start(directory)
        wait_for_checkpoint_after(before, directory, process)
        os.kill(process.pid, number)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - sent < 10
        assert process.returncode == EXIT_INTERRUPTED == 75
        saved = last_step(directory)
        assert before < saved < STEPS
        assert f"saved at step {saved}. Continue with: floq resume {directory}" in errors
    finish(directory)
    assert results(directory) == uncut
