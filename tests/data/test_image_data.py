"""Data of images: stored once as bytes, stacked where a batch is drawn, refused where unsound."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from seen import seen_data

from floq.data.dataset import Dataset
from floq.data.experience import Experience, Rows
from floq.data.formats import as_sources
from floq.data.loading import load_rows, streamed_source
from floq.data.replay import ReplayBuffer
from floq.data.sharded import ShardedRows
from floq.data.streamed import StreamedDataset
from floq.observations import packed, warn_of_channels
from tests.data.taken import take


def images(count):
    """Images that show their number."""
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


def episodes(ends, count):
    """Transitions of images, in episodes whose last rows are given."""
    terminals = np.zeros(count)
    terminals[ends] = 1
    numbers = np.zeros(count)
    return Dataset.from_trajectories(
        images(count), np.zeros((count, 1)), numbers, numbers + 1, terminals, layout="states"
    )


def shown(rows):
    """The number that each frame of each row shows."""
    return np.asarray(rows).reshape(len(rows), -1, 4)[..., 0].tolist()


def test_stacks_repeat_the_first_frame_and_never_cross_episodes():
    """Of two episodes of four states, three frames each; nothing is stored twice."""
    data = episodes([3, 7], 8)
    stacked = data.with_frames(3)
    assert stacked.observations is data.observations
    assert stacked.observations.dtype == jnp.uint8
    batch = take(stacked, np.arange(6))
    firsts = [[0, 0, 0], [0, 0, 1], [0, 1, 2]]
    nexts = [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert shown(batch.observations) == firsts + [[4 + n for n in row] for row in firsts]
    assert shown(batch.next_observations) == nexts + [[4 + n for n in row] for row in nexts]
    assert stacked.statistics.observation_dim == 12
    with pytest.warns(UserWarning, match="leaves out 2 of 6"):
        decided = stacked.with_decisions(action_chunk=2, discount=0.9)
    assert shown(take(decided, np.arange(2)).next_observations) == [[0, 1, 2], [1, 2, 3]]


def test_the_ring_stacks_as_the_dataset_does():
    """Frames come from the same episode, and all of them are still in the ring."""
    form = episodes([3], 4).form._replace(frames=3)
    buffer = ReplayBuffer.create(images(1).reshape(1, -1), 1, rows=8, discount=0.9, form=form)
    number, taken = 0, []
    flat = images(60).reshape(60, -1)
    add = jax.jit(ReplayBuffer.add)
    for step in range(20):
        ended = step % 5 == 4
        experience = Experience(
            np.zeros((1, 1), np.float32),
            np.zeros(1, np.float32),
            np.array([False]),
            np.array([ended]),
            flat[[number + 1]],
            flat[[number + 2]],
        )
        taken.append((flat[number], False))
        if ended:
            taken.append((flat[number + 1], True))
        buffer = add(buffer, experience)
        number += 2 if ended else 1
    assert buffer.observations.dtype == jnp.uint8
    size = int(buffer.sizes[0])
    batch = take(buffer, np.arange(size))
    found = shown(batch.observations)
    # Episodes begin at the multiples of six; the present state is 24, and 17 is the oldest row.
    assert [row[-1] for row in found] == [19, 20, 21, 22]
    assert found == [[max(n - back, 18) for back in (2, 1, 0)] for n in (19, 20, 21, 22)]
    assert shown(batch.next_observations) == [
        [max(n - back, 18) for back in (2, 1, 0)] for n in (20, 21, 22, 23)
    ]
    assert number == 24
    states, lasts = map(np.array, zip(*taken, strict=True))
    numbers = np.zeros(len(lasts), np.float32)
    history = Rows(states, numbers[:, None], numbers, numbers + 1, lasts)
    again = ReplayBuffer.restore(
        [history],
        flat[[number]],
        heads=np.asarray(buffer.heads),
        listed=np.asarray(buffer.listed),
        lowest=np.asarray(buffer.lowest),
        highest=np.asarray(buffer.highest),
        rows=8,
        chunk=1,
        lookahead=1,
        discount=0.9,
        form=form,
    )
    assert int(again.sizes[0]) == size
    for one, other in zip(batch, take(again, np.arange(size)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("show", ["image", "both"])
def test_separate_transitions_of_images_are_stored_as_trajectories_are(show):
    """Next observations that equal the following ones take no place of their own."""
    data, (_, actions, rewards, masks, terminals) = seen_data(show, episodes=3)
    starts = np.flatnonzero(terminals == 0)
    bare = data.form.bare

    def rows(numbers):
        return bare.unpack(np.asarray(data.observations)[numbers])

    other = Dataset.from_transitions(
        rows(starts), actions[starts], rewards[starts], masks[starts], rows(starts + 1)
    )
    assert other.form == data.form
    assert other.observations.dtype == jnp.uint8
    np.testing.assert_array_equal(other.observations, data.observations)


@pytest.mark.parametrize("shape", [(3, 64, 64), (9, 84, 84), (1, 16, 24)])
def test_channels_that_come_first_are_told(shape):
    """Each image of a dictionary by its name, with the way out."""
    camera = np.zeros((2, *shape), np.uint8)
    seen = {"camera": camera, "top": np.moveaxis(camera, 1, -1)}
    said = rf"an image \[{shape[0]}, .* 'camera' has the height {shape[0]} .* numpy.moveaxis"
    ones = np.ones(2)
    with pytest.warns(UserWarning, match=said) as warned:
        Dataset.from_transitions(seen, ones[:, None], ones, ones, seen)
    assert len(warned) == 1  # Though next observations have the same form.


@pytest.mark.parametrize("shape", [(64, 64, 3), (3, 3, 3), (3, 3, 20), (64, 48, 12), (8, 8, 18)])
def test_channels_that_come_last_are_as_they_should_be(shape):
    """And so is what may be either."""
    _, form = packed(np.zeros((2, *shape), np.uint8), source="data")
    with warnings.catch_warnings(record=True) as said:
        warn_of_channels(form)
    assert said == []


def test_images_are_saved_and_loaded_as_they_are(tmp_path):
    """A file of images gives the dataset of the same fingerprint."""
    data, _ = seen_data()
    data.save(tmp_path / "seen.npz")
    assert Dataset.load(tmp_path / "seen.npz").fingerprint() == data.fingerprint()
    both, _ = seen_data("both")
    both.save(tmp_path / "both.npz")
    assert Dataset.load(tmp_path / "both.npz").fingerprint() == both.fingerprint()
    with np.load(tmp_path / "both.npz") as file:
        assert {"observations/camera", "observations/place"} <= {*file}
    # Piece by piece too, as files that may be large are.
    rows = ShardedRows.open(tmp_path / "both.npz")
    assert load_rows(rows, None).fingerprint() == both.fingerprint()
    read = rows.read(len(both.rewards) - 2, len(both.rewards) + 3)["observations"]
    np.testing.assert_array_equal(read, np.roll(both.observations, 2, axis=0)[:5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observations/place/x": np.zeros((41, 1))}, "place/x cannot be an array beside observ"),
        ({"observations/": np.zeros((41, 1))}, "observations/ cannot be an array: give"),
        ({"observations/place": np.zeros((40, 1))}, "of observations"),
        ({"observations/place": np.zeros((41, 2, 1))}, "a dictionary has the shapes"),
    ],
)
def test_dictionaries_in_files_that_contradict(tmp_path, change, words):
    """Parts inside parts, without a name, of other lengths or of no shape that floq has."""
    both, _ = seen_data("both")
    both.save(tmp_path / "both.npz")
    with np.load(tmp_path / "both.npz") as file:
        np.savez(tmp_path / "other.npz", **dict(file) | change)
    with pytest.raises(ValueError, match=words) as caught:
        Dataset.load(tmp_path / "other.npz")
    assert str(tmp_path / "other.npz") in str(caught.value)


@pytest.mark.parametrize("show", ["image", "both"])
def test_images_that_do_not_fit_are_streamed(tmp_path, monkeypatch, show):
    """Where they take more than they may, and by themselves more than half of what is free."""
    data, _ = seen_data(show)
    data.save(tmp_path / "seen.npz")
    sources = as_sources(tmp_path / "seen.npz")
    assert streamed_source(sources, "auto", None) is None
    assert streamed_source(sources, "1MB", None) is None
    monkeypatch.setattr("floq.data.loading.free_memory", lambda: 2 * data.nbytes // 3)
    rows = ShardedRows.open(tmp_path / "seen.npz")
    found = streamed_source(sources, "1kB", None), streamed_source(sources, "auto", None)
    for streamed in (*found, load_rows(rows, "auto")):
        assert isinstance(streamed, StreamedDataset)
        assert streamed.fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("byte", r"b\.npz: observations/camera\.npy cannot be read.*CRC"),
        ("nan", r"b\.npz: of observations, part 'place' .*not finite"),
        ("shape", r"b\.npz: observations/camera has rows of shape \(8, 4, 1\)"),
        ("float", r"b\.npz: of observations, part 'camera' .*must be .*bytes"),
    ],
)
def test_faults_in_files_of_images_are_found_before_they_are_streamed(tmp_path, damage, words):
    """In any file of a folder, which is named: flipped bytes, NaN, other shapes and types."""
    data, _ = seen_data("both")
    for name in ("a", "b"):
        data.save(tmp_path / f"{name}.npz")
    with np.load(tmp_path / "b.npz") as file:
        arrays = dict(file)
    camera = arrays["observations/camera"]
    if damage == "nan":
        arrays["observations/place"][7, 1] = np.nan
    elif damage != "byte":
        changed = {"shape": camera[:, :, :4], "float": camera.astype(np.float32)}
        arrays["observations/camera"] = changed[damage]
    np.savez(tmp_path / "b.npz", **arrays)
    if damage == "byte":
        content = bytearray((tmp_path / "b.npz").read_bytes())
        content[content.index(camera.tobytes()) + 5] ^= 1
        (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        streamed_source(as_sources(f"ogbench:{tmp_path}"), "1kB", None)


def test_unsound_images_are_refused():
    """In words, before anything is learned from them."""
    _, (observations, *rest) = seen_data()
    with pytest.raises(ValueError, match=r"of bytes \(uint8\)"):
        Dataset.from_trajectories(observations.astype(np.float32), *rest)
    with pytest.raises(ValueError, match="actions has 41 rows"):
        Dataset.from_trajectories(observations[:-1], *rest)
    _, (both, *rest) = seen_data("both")
    damaged = {**both, "place": np.where(np.arange(41)[:, None] > 38, np.nan, both["place"])}
    with pytest.raises(ValueError, match=r"'place' .* is not finite .* in 2 of 41 rows.* row 39"):
        Dataset.from_trajectories(damaged, *rest)
    vectors, _ = seen_data("vector")
    with pytest.raises(ValueError, match="frames is 3 and observations are vectors"):
        vectors.with_frames(3)


def test_hidden_entries_are_no_data():
    """Of images alone, and of parts of a dictionary."""
    _, (observations, *rest) = seen_data()
    hidden = np.ma.masked_equal(observations, observations.max())
    with pytest.raises(ValueError, match=r"is a masked array, and .* hidden: leave out"):
        Dataset.from_trajectories(hidden, *rest)
    _, (both, *rest) = seen_data("both")
    place = np.ma.masked_array(both["place"], np.arange(both["place"].size) == 3)
    with pytest.raises(ValueError, match="the part place is a masked array, and 1 of"):
        Dataset.from_trajectories({**both, "place": place}, *rest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda both: {**both, "place": both["place"][1:]}, "all need as many rows"),
        (lambda both: {**both, "a/b": both["place"]}, "a part is called 'a/b'"),
        (lambda both: {**both, 3: both["place"]}, "a part is called 3: give its name as a str"),
    ],
)
def test_dictionaries_that_are_none_of_rows(change, words):
    """Parts of other lengths, and names that would be lost in a file."""
    _, (both, *rest) = seen_data("both")
    with pytest.raises(ValueError, match=f"of observations, .*{words}"):
        Dataset.from_trajectories(change(both), *rest)
