"""Stepping many environments: same results everywhere, and no fault goes unnoticed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from floq.envs import EnvironmentSpec
from floq.envs.vector import VectorEnvironment, WorkerError

TOY = "toy_environments:Toy-v0"
ACTIONS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], np.float32)
SLOTS = np.array([2, 0, 3])
SEEDS = np.array([7, 8, 2**32 - 1])


def _toys(*, processes=1, count=4, **kwargs):
    timeouts = {name: kwargs.pop(name) for name in ("step_timeout",) if name in kwargs}
    spec = EnvironmentSpec(TOY, kwargs)
    return VectorEnvironment(spec, count=count, processes=processes, **timeouts)


def _play(environments):
    observations = environments.reset(SLOTS, SEEDS)
    first, second = (environments.step(SLOTS, ACTIONS) for _ in range(2))
    return [observations, *first, *second]


@pytest.mark.parametrize("processes", [0, 2, 3])
def test_results_do_not_depend_on_processes(processes):
    """Slots in this process and in two or three workers give the same bytes."""
    with _toys(processes=1) as environments:
        expected = _play(environments)
    with _toys(processes=processes) as environments:
        for left, right in zip(_play(environments), expected, strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("processes", [0, 2])
def test_rows_keep_their_order(processes):
    """Each row's reward is that of its own action: the answers are not mixed up among workers."""
    with _toys(processes=processes, length=9) as environments:
        environments.reset(SLOTS, np.full(3, 5))
        steps = environments.step(SLOTS, ACTIONS)
        # Equal seeds see equal draws, so what remains of the rewards is the actions' sums.
        draws = steps.observations[:, 1:].sum(1)
        np.testing.assert_allclose(steps.rewards - draws, ACTIONS.sum(1), rtol=1e-6)
        np.testing.assert_array_equal(steps.observations[1:], steps.observations[[0, 0]])


@pytest.mark.parametrize("processes", [0, 2])
def test_an_episode_ignores_its_past_and_its_neighbours(processes):
    """A slot that lived differently before, beside others, gives the seed's episode again."""
    with _toys(processes=processes) as environments:
        expected = _play(environments)
        everyone = np.arange(4)
        environments.reset(everyone, everyone)
        environments.step(everyone, np.ones((4, 2), np.float32))
        np.random.uniform(size=5)  # noqa: NPY002
        for left, right in zip(_play(environments), expected, strict=True):
            np.testing.assert_array_equal(left, right)


def test_numpys_global_generator_is_left_alone():
    """Environments of this process that draw from the global generator do not move it."""
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.uniform(size=4)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    with _toys(processes=0) as environments:
        _play(environments)
    np.testing.assert_array_equal(np.random.uniform(size=4), expected)  # noqa: NPY002


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize(
    ("fault", "message"),
    [("raise", "ArithmeticError: the toy broke"), ("nan", "slot .* not finite")],
)
def test_faulty_environments_are_named(processes, fault, message):
    """An environment that raises or shows NaN ends in a WorkerError that says so, and all close."""
    environments = _toys(processes=processes, fault=fault, length=9)
    _play(environments)
    with pytest.raises(WorkerError, match=message) as caught:
        environments.step(SLOTS, ACTIONS)
    assert TOY in str(caught.value)
    assert environments.closed
    with pytest.raises(WorkerError, match="closed"):
        environments.step(SLOTS, ACTIONS)


def test_a_worker_shows_its_traceback():
    """The line of the environment that failed in the worker is in the message."""
    with _toys(fault="raise", length=9, when=1) as environments:
        environments.reset(SLOTS, SEEDS)
        with pytest.raises(WorkerError, match=r"in misbehave"):
            environments.step(SLOTS, ACTIONS)


def test_a_dying_worker_is_told_with_its_last_words():
    """The exit status and the end of its error output are in the message."""
    with _toys(fault="die", when=1, length=9) as environments:
        environments.reset(SLOTS, SEEDS)
        with pytest.raises(WorkerError, match=r"(?s)exit status 3.*the toy dies"):
            environments.step(SLOTS, ACTIONS)


def test_a_killed_worker_is_noticed():
    """A worker killed from outside ends in a WorkerError that names the signal."""
    environments = _toys(processes=2)
    environments.reset(SLOTS, SEEDS)
    os.kill(_workers(environments)[1].pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"worker 2 of 2.*SIGKILL"):
        environments.step(SLOTS, ACTIONS)
    assert environments.closed


def test_a_hanging_environment_is_stopped():
    """After the time limit the worker is ended, and soon."""
    environments = _toys(fault="hang", when=1, length=9, step_timeout=3.0)
    environments.reset(SLOTS, SEEDS)
    (worker,) = _workers(environments)
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="did not answer in time"):
        environments.step(SLOTS, ACTIONS)
    assert time.monotonic() - begin < 30
    assert worker.poll() is not None


def test_what_an_environment_prints_does_no_harm():
    """Text on standard output does not mix with the answers."""
    with _toys(fault="print", when=1, length=9) as loud, _toys(length=9) as quiet:
        for left, right in zip(_play(loud), _play(quiet), strict=True):
            np.testing.assert_array_equal(left, right)


def test_an_environment_that_cannot_be_built_is_told():
    """The constructor's error reaches the caller."""
    with pytest.raises(WorkerError, match="unexpected keyword argument 'colour'"):
        _toys(colour="red")


def test_closing_ends_the_workers_and_may_be_repeated():
    """After close no worker lives; closing again is no error."""
    environments = _toys(processes=2)
    workers = _workers(environments)
    environments.close()
    assert [worker.poll() for worker in workers] == [0, 0]
    environments.close()


def test_workers_end_with_their_parent():
    """A worker whose parent was killed goes away by itself."""
    code = (
        "import time; from floq.envs import EnvironmentSpec; "
        "from floq.envs.vector import VectorEnvironment; "
        f"v = VectorEnvironment(EnvironmentSpec({TOY!r}), count=1, processes=1); "
        "print(v._workers[0]._process.pid, flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.kill()
    deadline = time.monotonic() + 30
    while _alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize(("count", "processes"), [(0, 0), (2, 3), (2, -1)])
def test_impossible_numbers_are_refused(count, processes):
    """No slots, or more processes than slots, is a ValueError."""
    with pytest.raises(ValueError, match="processes for"):
        _toys(count=count, processes=processes)


def _workers(environments):
    return [worker._process for worker in environments._workers]


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
