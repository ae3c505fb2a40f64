import tracemalloc

import numpy as np
import pytest

from floq.data.dataset import Dataset
from floq.data.loading import whole
from floq.data.memory import Flags, pieces
from floq.data.sharded import ShardedRows

ROWS = 1_000_000


@pytest.fixture
def large():
    """A million rows of 12 entries, with actions of one."""
    states = np.zeros((ROWS, 12), np.float32)
    terminals = np.arange(1, ROWS + 1) % 1000 == 0
    arrays = {"observations": states, "actions": states[:, :1], "terminals": terminals}
    return arrays | {"rewards": states[:, 0], "masks": np.ones(ROWS)}


def peak_of(build):
    """Most bytes that were taken at once beside what was there, and the result."""
    tracemalloc.start()
    try:
        result = build()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bounds", [{}, {"action_low": -2, "action_high": 2}])
def test_arrays_are_copied_once(large, bounds):
    """Checks, rescaling and the way to the device take little beside the dataset itself."""
    peak, dataset = peak_of(lambda: Dataset.from_trajectories(**large, **bounds, layout="states"))
    assert peak < 1.3 * dataset.nbytes


def test_files_are_read_into_place(large, tmp_path):
    """Files take little beside the dataset either, whatever else they hold."""
    np.savez(tmp_path / "x.npz", **large, qpos=np.zeros((ROWS, 8)))
    label = lambda arrays: (arrays["qpos"][:, 0], 1 - arrays["qpos"][:, 1])
    rows = ShardedRows.open(tmp_path / "x.npz", fields=("qpos",), label=label)
    peak, dataset = peak_of(lambda: whole(rows))
    assert peak < 1.3 * dataset.nbytes
    assert dataset.observations.shape == (ROWS, 12)


@pytest.mark.parametrize("is_file", [False, True])
def test_images_are_copied_once_as_bytes(tmp_path, is_file):
    """Images, whose rows are large, take little beside the dataset, and a byte an entry there."""
    images = np.random.default_rng(0).integers(0, 256, (20_000, 24, 24, 3), np.uint8)
    terminals = np.arange(1, len(images) + 1) % 1000 == 0
    values = np.ones(len(images), np.float32)
    arrays = {"observations": images, "actions": values[:, None], "terminals": terminals}
    arrays |= {"rewards": values, "masks": values}
    np.savez(tmp_path / "x.npz", **arrays)
    label = lambda arrays: (arrays["rewards"], arrays["masks"])
    rows = ShardedRows.open(tmp_path / "x.npz", label=label)
    from_arrays = lambda: Dataset.from_trajectories(**arrays, layout="states")
    peak, dataset = peak_of(lambda: whole(rows) if is_file else from_arrays())
    assert peak < dataset.nbytes + 2.5 * 2**23  # Two pieces, and what is small.
    np.testing.assert_array_equal(dataset.trajectories()["observations"], images)
    assert dataset.fingerprint() == from_arrays().fingerprint()


def test_pages_of_a_file_are_let_go(tmp_path):
    """A mapped file that is read holds its values still, and a copy-on-write one its changes."""
    np.save(tmp_path / "x.npy", np.arange(200_000, dtype=np.float32))
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
        due = np.arange(200_000, dtype=np.float32)
        if mode == "c":
            mapped[70_000] = due[70_000] = -1
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate(list(pieces(mapped[:]))), due)


def test_flags_are_read_where_they_were_written():
    """Flags of any rows, whose bytes they share with others, come back."""
    values = np.random.default_rng(0).integers(0, 2, 61).astype(bool)
    flags = Flags(61)
    for first, last in ((0, 5), (5, 23), (23, 24), (24, 61)):
        flags.write(first, values[first:last])
    for first, last in ((0, 61), (3, 9), (8, 16), (17, 18), (60, 61)):
        np.testing.assert_array_equal(flags.read(first, last), values[first:last])
