import socket

import many_devices
import numpy as np
import pytest
import tiny_algorithm as tiny

from floq.commands.training import HostOptions
from floq.runs.checkpoint import checkpoint_paths
from floq.training import load_run, resume, train
from floq.training.devices import device_grid, grid_shape
from floq.training.hosts import check_agreement, from_all, on_first


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def assert_close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("devices", "seeds", "batch", "shape"),
    [
        (4, 1, 256, (1, 4)),
        (4, 8, 256, (4, 1)),
        (4, 2, 256, (2, 2)),
        (4, 3, 256, (1, 4)),
        (4, 6, 256, (2, 2)),
        (3, 3, 256, (3, 1)),
        (8, 12, 6, (4, 2)),
    ],
)
def test_seeds_come_before_batches(devices, seeds, batch, shape):
    """As many devices as divide both go to the seeds, the rest to each batch."""
    assert grid_shape(devices, seeds=seeds, batch_size=batch) == shape


def test_batches_that_devices_cannot_share_are_refused():
    """The error names the numbers and each way out."""
    with pytest.raises(ValueError, match=r"batch_size is 256, which 3 devices .* multiple of 3"):
        grid_shape(3, seeds=1, batch_size=256)
    with pytest.raises(ValueError, match=r"6 devices, and 2 seeds take 2 x 3 .*CUDA_VISIBLE"):
        grid_shape(6, seeds=2, batch_size=256)


def test_a_single_device_is_no_grid():
    """One device keeps the program that it had, whatever the sizes."""
    assert device_grid(3, 7) is None


def test_a_single_process_agrees_with_itself():
    """It is the first one, and asks nobody."""
    assert from_all(7) == [7]
    assert on_first(lambda: "done") == "done"
    check_agreement(b"anything", what="settings")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (HostOptions(hosts=2, host=0), "no coordinator"),
        (HostOptions("127.0.0.1:8476"), "hosts is None"),
        (HostOptions("127.0.0.1:8476", hosts=2, host=2), "host is 2"),
        (HostOptions("127.0.0.1", hosts=2, host=0), "HOST:PORT"),
        (HostOptions("auto", hosts=2), "leave"),
    ],
)
def test_hosts_are_told_what_is_missing(options, message):
    """Each error names what was given, and what to give."""
    with pytest.raises(ValueError, match=message), options.joined():
        pass


@pytest.mark.slow
def test_devices_lose_nothing():
    """On four, 1,000 updates have one device's losses; two seeds are each the seed alone."""
    runs = [["tiny", seeds, 1000] for seeds in ([0], [4, 0])]
    process = many_devices.start([["losses", run, {"interval": 100}] for run in runs], devices=4)
    expected = np.asarray(many_devices.losses(*runs[1], interval=100))
    alone, together = many_devices.results(process)
    assert_close(alone, expected[:, :, 1:])
    assert_close(together, expected)


@pytest.mark.slow
def test_devices_share_the_work_and_lose_nothing_of_floq():
    """1, 2 and 4 devices have the same losses of floq over 1,000 updates, and two seeds too.

    Each of the four computes about a quarter.
    """
    losses = [["losses", ["floq", [0], 1000], {"interval": 100}],
              ["losses", ["floq", [4, 0], 100], {"interval": 100}]]  # fmt: skip
    share = ["share_of_the_work", [[0]], {}]
    one, two, (quarter, *four) = (
        many_devices.results(many_devices.start(tasks, devices=devices))
        for devices, tasks in ((1, losses), (2, losses), (4, [share, *losses]))
    )
    for found in (two, four):
        for some, others in zip(found, one, strict=True):
            assert_close(some, others)
    assert quarter < 0.3


def train_together(tasks, *, devices=1):
    """What two processes gave for the same tasks, which must be the same."""
    address = free_address()
    processes = [
        many_devices.start(tasks, devices=devices, coordinator=address, hosts=2, host=host)
        for host in range(2)
    ]
    first, second = map(many_devices.results, processes)
    assert first == second
    return first


def train_alone(directory, seeds, steps, *, env=None):
    return train(
        tiny.Config(),
        many_devices.dataset(),
        directory=directory,
        env=env,
        seeds=seeds,
        steps=steps,
        schedule=many_devices.SCHEDULE,
        processes=0,
        progress=False,
    )


def assert_whole_and_equal(directory, alone):
    """The run's directory is as one process leaves it, with numbers within rounding."""
    together = load_run(directory)
    assert together.step == alone.step
    for found, expected in zip(together.metrics, alone.metrics, strict=True):
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, rel=1e-5)
    steps = [(row["step"], row["seed"]) for row in together.evaluations]
    assert steps == [(row["step"], row["seed"]) for row in alone.evaluations]
    names = [path.name for path in checkpoint_paths(directory / "checkpoints")]
    assert names == [path.name for path in checkpoint_paths(alone.directory / "checkpoints")]
    np.testing.assert_allclose(together.state.weights, alone.state.weights, rtol=1e-5, atol=1e-6)
    assert resume(directory, dataset=many_devices.dataset(), progress=False).step == alone.step


@pytest.fixture(scope="module")
def pair_of_processes(tmp_path_factory):
    """The folder in which two processes have trained, and what they gave."""
    folder = tmp_path_factory.mktemp("pair")
    settings = {"env": "Pendulum-v1", "told": str(folder / "told")}
    return folder, train_together(
        [
            ["count_signals", [], {}],
            ["train_run", [str(folder / "together"), [3], 300], {}],
            ["attempt", [str(folder / "together")], {}],
            ["attempt", [str(folder / "odd")], {"batch_size": 15}],
            ["train_run", [str(folder / "watched"), [3], 200], settings],
        ]
    )


def test_two_processes_train_one_run_together(pair_of_processes, tmp_path):
    """Over loopback they end with one process's losses, and leave its files.

    A directory that holds a run, and a batch that two cannot share, are refused by both; signals
    still go where they went before the two joined.
    """
    folder, (signals, interrupted, existing, odd, _) = pair_of_processes
    assert (signals, interrupted) == (1, [])
    assert "FileExistsError" in existing
    assert "batch_size is 15, which 2 devices" in odd
    assert not (folder / "odd").exists()
    assert_whole_and_equal(folder / "together", train_alone(tmp_path / "alone", [3], 300))


def test_callbacks_are_told_by_the_first_of_two_processes(pair_of_processes):
    """Of each event once, of evaluations too; the other process keeps step, and both end."""
    folder, (*_, interrupted) = pair_of_processes
    assert interrupted == []
    assert (folder / "told").read_text().splitlines() == [
        *("log 50 1", "log 100 1", "checkpoint 100 0", "log 150 1"),
        *("log 200 1", "evaluation 200 1", "checkpoint 200 0"),
    ]


@pytest.mark.slow
def test_two_processes_of_two_devices_share_seeds_and_evaluate(tmp_path):
    """Each has a seed on its devices; the first evaluates both seeds while the other waits.

    Cut by a signal to the second one alone, both stop at the same update, and go on together.
    """
    settings = {"env": "Pendulum-v1", "signal_at": 60}
    ((interrupted,),) = train_together(
        [["train_run", [str(tmp_path / "together"), [3, 5], 400], settings]], devices=2
    )
    assert 60 < interrupted < 400
    alone = train_alone(tmp_path / "alone", [3, 5], 400, env="Pendulum-v1")
    assert_whole_and_equal(tmp_path / "together", alone)
    assert len(alone.evaluations) == 4


@pytest.mark.slow
def test_a_resumed_run_on_several_devices_equals_the_uncut_one(tmp_path):
    """To the bit on as many devices; on one device to 1e-5, with a warning."""
    cut, uncut = (str(tmp_path / name) for name in ("cut", "uncut"))
    tasks = [
        ["train_run", [cut, [3, 5], 400], {"signal_at": 60}],
        ["train_run", [uncut, [3, 5], 400], {}],
    ]
    (interrupted, whole) = many_devices.results(many_devices.start(tasks, devices=4))
    assert (len(interrupted), whole) == (1, [])
    runs = load_run(cut), load_run(uncut)
    assert runs[0].metrics == runs[1].metrics
    np.testing.assert_array_equal(runs[0].state.weights, runs[1].state.weights)
    with pytest.warns(RuntimeWarning, match="devices was 4, is 1"):
        longer = resume(cut, dataset=many_devices.dataset(), steps=600, progress=False)
    alone = train_alone(tmp_path / "alone", [3, 5], 600)
    np.testing.assert_allclose(longer.state.weights, alone.state.weights, rtol=1e-5, atol=1e-6)
