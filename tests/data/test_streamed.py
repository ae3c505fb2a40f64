import dataclasses

import jax
import numpy as np
import pytest

from floq.data.dataset import Dataset
from floq.data.loading import as_bytes, load_rows
from floq.data.reading import Parts
from floq.data.sharded import ShardedRows
from floq.data.streamed import StreamedDataset, pass_of
from tests.data.taken import all_of

DECISIONS = [
    (1, 1),
    *(pytest.param(*one, marks=pytest.mark.slow) for one in [(1, 3), (3, 1)]),
    (2, 2),
]
"""Steps of a decision, and decisions over which rewards are summed."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Reads few rows at a time, so that trajectories and blocks lie across pieces."""
    for module in ("memory", "npz", "streamed"):
        monkeypatch.setattr(f"floq.data.{module}.PIECE", 16)


SHOWN = pytest.mark.parametrize("whole", ["vector", "image", "both"], indirect=True)
"""Observations of data: vectors, and images and dictionaries, of which three frames are stacked."""


@pytest.fixture
def whole(request):
    """Nine trajectories of 5 to 21 rows, some of which end truly; an observation says its row."""
    random = np.random.default_rng(0)
    lengths = random.integers(5, 22, 9)
    rows = lengths.sum()
    ends = np.cumsum(lengths) - 1
    masks = np.ones(rows)
    masks[ends[:4] - 1] = 0
    numbers, others = np.arange(rows)[:, None], random.normal(size=(rows, 1))
    image = np.tile(numbers.astype(np.uint8)[:, None, None], (1, 2, 2, 1))
    shown = {
        "vector": np.concatenate([numbers, others], axis=1),
        "image": image,
        "both": {"camera": image, "place": others},
    }
    return Dataset.from_trajectories(
        observations=shown[getattr(request, "param", "vector")],
        actions=random.uniform(-1, 1, (rows, 2)),
        rewards=random.normal(size=rows),
        masks=masks,
        terminals=np.isin(np.arange(rows), ends),
        layout="states",
        action_low=-2,
        action_high=(2, 3),
    )


@pytest.fixture
def streamed(tmp_path, whole):
    """The same in two files."""
    whole.save(tmp_path / "all.npz")
    folder = tmp_path / "shards"
    folder.mkdir()
    with np.load(tmp_path / "all.npz") as file:
        arrays = dict(file)
    cut = int(np.flatnonzero(arrays["terminals"])[3]) + 1
    for name, own in (("0", slice(0, cut)), ("1", slice(cut, None))):
        rows = {k: v[own] if len(np.shape(v)) and len(v) > 9 else v for k, v in arrays.items()}
        np.savez_compressed(folder / f"{name}.npz", **rows)
    return StreamedDataset.of(ShardedRows.open(folder), 1_000)


def stacked(dataset):
    return dataset if dataset.form is None else dataset.with_frames(3)


def rows_of(dataset, observations):
    """The rows that observations say, by their newest frames."""
    newest = 0 if dataset.form is None else -dataset.form.nbytes
    return np.asarray(observations)[:, newest].astype(int)


def decided(dataset, chunk, n_step):
    dataset = stacked(dataset)
    if chunk * n_step == 1:
        return dataset
    return dataset.with_decisions(action_chunk=chunk, n_step=n_step, discount=0.9)


def part_of(dataset, parts, number, seed):
    return dataset.placed(parts, dataset.read(parts, number, seed))


def parts_of(dataset, blocks, block_size):
    return Parts(blocks, block_size, dataset._most_rows(block_size), 1)


@SHOWN
@pytest.mark.filterwarnings("ignore:action_chunk", "ignore:n_step")
@pytest.mark.parametrize(("chunk", "n_step"), DECISIONS)
def test_transitions_are_those_of_the_data_in_memory(whole, streamed, chunk, n_step, monkeypatch):
    """Wherever a block begins, each of its transitions is bit for bit the one in memory."""
    one, other = decided(whole, chunk, n_step), decided(streamed, chunk, n_step)
    assert (other.size, other.statistics, other.sizes) == (one.size, one.statistics, one.sizes)
    monkeypatch.setattr(StreamedDataset, "first_starts", lambda *_: np.arange(other.size))
    part = part_of(other, parts_of(other, other.size, 7), 0, 0)
    assert part.form == one.form
    batch = all_of(part)
    own = (np.arange(one.size)[:, None] + np.arange(7)).ravel() % one.size
    np.testing.assert_array_equal(rows_of(one, batch.observations), one.transitions[own])
    all_rows = all_of(one)
    for field in batch._fields:
        found, due = getattr(batch, field), getattr(all_rows, field)
        if due is None:  # Data has no observations for the policy alone.
            assert found is None
            continue
        found, due = np.asarray(found), np.asarray(due)[own]
        assert found.dtype == due.dtype
        if field == "next_observations":  # Where a mask is 0, nobody reads it.
            is_read = np.asarray(batch.masks) != 0
            found, due = found[is_read], due[is_read]
        np.testing.assert_array_equal(found, due, err_msg=field)


@SHOWN
def test_fingerprint_is_that_of_the_data_in_memory(whole, streamed):
    """The same data has one fingerprint, streamed or not, bounds included."""
    assert streamed.fingerprint() == whole.fingerprint()
    assert (streamed.action_low, streamed.action_high) == (whole.action_low, whole.action_high)
    assert load_rows(streamed.rows, None).fingerprint() == whole.fingerprint()


def test_every_transition_has_the_same_expected_share(streamed):
    """A pass holds no transition twice, and over the places it may begin at each one as often."""
    size, block_size = streamed.size, 7
    counts = np.zeros(size, int)
    for offset in range(size):
        firsts = pass_of(size, block_size, offset)
        held = (firsts[:, None] + np.arange(block_size)).ravel() % size
        assert len(set(held)) == len(held) > size - block_size
        counts[held] += 1
    assert set(counts) == {size // block_size * block_size}


def test_parts_follow_passes(streamed):
    """Parts take the blocks of a pass in turn, each once, and those of the next one after them."""
    parts = parts_of(streamed, 4, 7)
    a_pass = streamed.size // 7
    firsts = np.concatenate([streamed.first_starts(parts, number, 3) for number in range(a_pass)])
    passes = firsts.reshape(4, a_pass)
    for own in passes:
        held = (own[:, None] + np.arange(7)).ravel() % streamed.size
        assert len(set(held)) == 7 * a_pass
    assert len({tuple(own) for own in passes}) == 4
    again = np.concatenate([streamed.first_starts(parts, number, 3) for number in range(a_pass)])
    np.testing.assert_array_equal(firsts, again)
    assert not np.array_equal(firsts[:4], streamed.first_starts(parts, 0, 4))


# What is read of images alone is held above; how it is drawn is as of the others.
@pytest.mark.parametrize(
    "whole", ["vector", pytest.param("image", marks=pytest.mark.slow), "both"], indirect=True
)
def test_batches_draw_all_transitions_alike(whole, streamed):
    """Over many parts, each of which stays as long, transitions are drawn equally often."""
    streamed = stacked(streamed)
    parts, counts = parts_of(streamed, 3, 7), np.zeros(len(whole.rewards), int)
    sample = jax.jit(lambda part, key: part.sample(84, key=key).observations)
    for number in range(150):
        part = part_of(streamed, parts, number, 0)
        rows = rows_of(streamed, sample(part, jax.random.key(number)))
        counts += np.bincount(rows, minlength=len(counts))
    counts = counts[np.asarray(whole.transitions)]
    assert sample._cache_size() == 1
    assert counts.sum() == 150 * 84
    # Four standard deviations of drawing and of being there.
    expected = 150 * 84 / len(counts)
    assert np.abs(counts - expected).max() < 0.3 * expected


@SHOWN
@pytest.mark.parametrize("memory_bytes", [600, 1_000, 2_000])
def test_a_part_takes_no_more_than_it_may(whole, streamed, memory_bytes):
    """A part fits into the device's memory that it is given, and uses most of it."""
    dataset = dataclasses.replace(stacked(streamed), device_memory=memory_bytes)
    parts = dataset.parts(batch_size=5)
    part = part_of(dataset, parts, 0, 0)
    assert part.rows.observations.shape == (parts.blocks * parts.rows, whole.sizes[0])
    assert part.rows.observations.dtype == whole.observations.dtype
    taken = sum(leaf.nbytes for leaf in jax.tree.leaves(part))
    assert 0.5 * memory_bytes < taken <= memory_bytes
    assert parts.updates == round(part.size / 5)
    with pytest.raises(ValueError, match="device_memory is 9: no 1 steps of"):
        dataclasses.replace(streamed, device_memory=9).parts(batch_size=5)


def test_sizes_are_read_with_their_units():
    """A size has a unit, or is in bytes; what fits is loaded into memory."""
    assert [as_bytes(size) for size in ("8GB", "1.5 MB", 300)] == [8 * 10**9, 1_500_000, 300]
    for wrong in ("many", "8GiB", 0, -1, "-2GB", "9" * 400 + "GB"):
        with pytest.raises(ValueError, match="such as 8GB"):
            as_bytes(wrong)


def test_data_that_fits_is_loaded(streamed):
    """A size in which all of the data fits, and by default what is free, load it all."""
    assert isinstance(load_rows(streamed.rows, "auto"), Dataset)
    assert isinstance(load_rows(streamed.rows, "1MB"), Dataset)
    assert isinstance(load_rows(streamed.rows, "1kB"), StreamedDataset)
