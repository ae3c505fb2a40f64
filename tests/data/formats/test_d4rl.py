"""D4RL's files, by the convention of their task."""

import h5py
import numpy as np
import pytest

import floq
from tests.data.taken import all_of


def arrays():
    """Ten transitions: a true end after the third, a time limit after the seventh."""
    rows = np.arange(10.0)
    return {
        "observations": np.stack([rows, -rows], axis=1),
        "actions": np.full((10, 1), 0.5, np.float32),
        "rewards": rows[:, None],
        "terminals": (rows == 2)[:, None],
        "timeouts": rows == 6,
    }


def write(path, arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        file["metadata/algorithm"] = np.bytes_("SAC")
    return path


def all_transitions(dataset):
    return all_of(dataset)


@pytest.mark.filterwarnings("ignore:.*a time limit cut them off")
def test_locomotion_by_hand(tmp_path):
    """Nothing leads over an end; the last transition before a time limit is left out."""
    path = write(tmp_path / "any.name", arrays())
    batch = all_transitions(floq.Dataset.load(path, convention="locomotion"))
    starts = [0, 1, 2, 3, 4, 5, 7, 8]
    np.testing.assert_array_equal(batch.observations[:, 0], starts)
    np.testing.assert_array_equal(batch.rewards, starts)
    np.testing.assert_array_equal(batch.masks, [1, 1, 0, 1, 1, 1, 1, 1])
    alive = np.asarray(batch.masks) == 1
    np.testing.assert_array_equal(batch.next_observations[alive, 0], np.add(starts, 1)[alive])
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 0, 1, 1, 0, 1, 0])


@pytest.mark.filterwarnings("ignore:.*a time limit cut them off")
def test_antmaze_runs_on_past_its_terminals(tmp_path):
    """Rewards are one less, and the state after a terminal is the following row's."""
    path = write(tmp_path / "maze.hdf5", arrays())
    batch = all_transitions(floq.Dataset.load(f"d4rl:{path}", convention="antmaze"))
    starts = np.array([0, 1, 2, 3, 4, 5, 7, 8])
    np.testing.assert_array_equal(batch.rewards, starts - 1)
    np.testing.assert_array_equal(batch.next_observations[:, 0], starts + 1)
    np.testing.assert_array_equal(batch.masks, [1, 1, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 1, 1, 1, 0, 1, 0])


def test_adroit_ends_where_states_jump(tmp_path):
    """With next observations every transition stays; nearly equal states are one."""
    rows = arrays()
    del rows["timeouts"]
    following = rows["observations"] + [1, -1]
    following[6] += 5
    following[4] += 1e-8
    path = write(tmp_path / "pen.hdf5", rows | {"next_observations": following})
    dataset = floq.Dataset.load(path, convention="adroit")
    batch = all_transitions(dataset)
    assert dataset.size == 10
    np.testing.assert_array_equal(batch.next_observations[:, 0], [1, 2, 3, 4, 5, 6, 12, 8, 9, 10])
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 0, 1, 1, 1, 0, 1, 1, 0])
    # Rows of the three trajectories' last states are all that is stored beside.
    assert len(dataset.rewards) == 13


def test_the_convention_is_never_guessed(tmp_path):
    """Without one the file is refused with all three; one for another format is refused too."""
    path = write(tmp_path / "hopper-medium-v2.hdf5", arrays())
    with pytest.raises(ValueError, match=r"antmaze.*adroit.*locomotion"):
        floq.Dataset.load(path)
    saved = tmp_path / "own.npz"
    floq.Dataset.from_transitions(
        np.zeros((2, 1)), np.zeros((2, 1)), np.arange(2), np.ones(2), np.ones((2, 1))
    ).save(saved)
    with pytest.raises(ValueError, match="convention is 'adroit', and data in the format npz"):
        floq.Dataset.load(saved, convention="adroit")


@pytest.mark.filterwarnings("ignore:.*a time limit cut them off")
@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("timeouts", None, "no array named timeouts, nor next_observations"),
        ("actions", None, "no actions; there is metadata, observations"),
        ("terminals", None, "no terminals; there is actions, metadata"),
        ("rewards", None, "no rewards; there is actions, metadata"),
        ("rewards", np.zeros(9), r"rewards has the shape \(9,\)"),
        ("terminals", np.full(10, 2), "terminals must be one 0 or 1 a row: row 0 holds 2"),
        ("rewards", np.where(np.arange(10) == 4, np.nan, 0), "row 4 holds nan.*transition 4"),
        ("actions", np.full((10, 1), 3.0), "row 0 holds 3.0, and 10 rows"),
        ("observations", np.array([b"x"] * 10), r"observations holds values of type \|S1"),
    ],
)
def test_faults_are_named(tmp_path, field, change, words):
    """File, field, row and value."""
    rows = arrays()
    del rows[field]
    path = write(tmp_path / "x.hdf5", rows if change is None else rows | {field: change})
    with pytest.raises(ValueError, match=words) as caught:
        floq.Dataset.load(f"d4rl:{path}", convention="locomotion")
    assert str(path) in str(caught.value)
