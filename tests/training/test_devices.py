import json
import socket

import many_devices
import numpy as np
import pytest
import tiny_algorithm as tiny

from floq.commands.training import HostOptions
from floq.experiments.report import report
from floq.training import load_run, resume, train
from floq.training.checkpoint import checkpoint_paths
from floq.training.devices import device_grid, grid_shape
from floq.training.hosts import check_agreement, from_all, join, on_first


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
    with pytest.raises(ValueError, match=r"6 devices, and 2 seeds take 2 x 3 .* CUDA_VISIBLE"):
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
    with pytest.raises(ValueError, match=message):
        options.join()
