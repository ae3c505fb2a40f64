"""Files of one's own data: saved and read to the bit, and refused where they contradict."""

import numpy as np
import pytest

from floq.data.dataset import Dataset
from floq.data.info import check, describe
from floq.data.reading import Reading


def apart(trajectories):
    """The trajectories as separate transitions."""
    rows = np.flatnonzero(~trajectories["terminals"])
    fields = ("observations", "actions", "rewards", "masks")
    return {field: trajectories[field][rows] for field in fields} | {
        "next_observations": trajectories["observations"][rows + 1]
    }


@pytest.mark.parametrize("bounds", [{}, {"action_low": [-1, -2], "action_high": 2}])
@pytest.mark.parametrize("layout", ["states", "transitions", "apart"])
@pytest.mark.filterwarnings("ignore:.*a time limit cut them off")
def test_what_was_saved_comes_back(tmp_path, trajectories, bounds, layout):
    """With an equal fingerprint, whatever it was built from, also with last rows masked."""
    if layout == "apart":
        dataset = Dataset.from_transitions(**apart(trajectories), **bounds)
    else:
        trajectories["masks"][5] = 0
        dataset = Dataset.from_trajectories(**trajectories, layout=layout, **bounds)
    dataset.save(tmp_path / "own.npz")
    again = Dataset.load(tmp_path / "own.npz")
    assert again.fingerprint() == dataset.fingerprint()
    assert (again.action_low, again.action_high) == (dataset.action_low, dataset.action_high)
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]
    # Bounds that are those of the file may be given again.
    if bounds:
        assert Dataset.load(tmp_path / "own.npz", **bounds).fingerprint() == again.fingerprint()


def test_arrays_of_ones_own_are_the_constructors_arguments(tmp_path, trajectories):
    """Either layout, with bounds in the file or given, which rescale what is in their units."""
    path = tmp_path / "own.npz"
    np.savez(path, **trajectories)
    whole = Dataset.from_trajectories(**trajectories)
    assert Dataset.load(path).fingerprint() == whole.fingerprint()
    assert Dataset.load(str(path), layout="states").fingerprint() == whole.fingerprint()
    bounds = {"action_low": -2.0, "action_high": [2.0, 3.0]}
    expected = Dataset.from_transitions(**apart(trajectories), **bounds).fingerprint()
    np.savez(path, **apart(trajectories))
    assert Dataset.load(path, **bounds).fingerprint() == expected
    np.savez(path, **apart(trajectories), action_low=-2.0, action_high=np.array([2.0, 3.0]))
    assert Dataset.load(path).fingerprint() == expected


def test_bounds_may_be_given_where_a_saved_file_has_none(tmp_path, trajectories):
    """Its actions are in the environment's units then, as they are in the constructors."""
    Dataset.from_trajectories(**trajectories).save(tmp_path / "own.npz")
    given = {"action_low": -2, "action_high": 2}
    dataset = Dataset.load(tmp_path / "own.npz", **given)
    expected = Dataset.from_trajectories(**trajectories, **given)
    assert dataset.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize(
    ("without", "added", "words"),
    [
        (("terminals",), {}, "no array named terminals, nor next_observations"),
        ((), {"next_observations": np.zeros((11, 3))}, "terminals beside next_observations"),
        ((), {"ends": np.zeros(11)}, "terminals beside next_observations or ends"),
        (("masks",), {}, "no array named masks; it holds actions, observations"),
        (("rewards", "masks"), {}, "load that with floq.load_task, or add both"),
        (("actions",), {}, "no array named actions"),
        ((), {"version": np.array(2)}, "its version is 2, and this floq reads 1"),
        ((), {"action_low": np.array(-2.0)}, "action_low is given without action_high"),
        ((), {"masks": np.zeros(11)}, 'layout="transitions"'),
        ((), {"observations": np.array([{}] * 11)}, "pickled Python objects"),
    ],
)
def test_files_that_cannot_be_understood(tmp_path, trajectories, without, added, words):
    """Each is refused with the file's name and what to do; `check` says the same."""
    arrays = {name: values for name, values in trajectories.items() if name not in without}
    np.savez(tmp_path / "own.npz", **arrays | added)
    with pytest.raises(ValueError, match=words) as caught:
        Dataset.load(tmp_path / "own.npz")
    assert str(tmp_path / "own.npz") in str(caught.value)
    if without != ("rewards", "masks"):
        assert words.replace("\\", "") in str(check(str(tmp_path / "own.npz")).popitem()[1])


def test_arguments_that_contradict_the_file(tmp_path, trajectories):
    """Other bounds than the file's, and a layout of what are transitions anyway."""
    path = tmp_path / "own.npz"
    Dataset.from_trajectories(**trajectories, action_low=-2, action_high=2).save(path)
    with pytest.raises(ValueError, match=r"within \[-2, 2\], and \[-3, 3\] was given"):
        Dataset.load(path, action_low=-3, action_high=3)
    np.savez(path, **apart(trajectories))
    with pytest.raises(ValueError, match="layout is 'states', and it holds next_observations"):
        Dataset.load(path, layout="states")


def test_what_cannot_be_saved(tmp_path, trajectories):
    """Another ending of the name, and transitions of several steps; a former file stays."""
    dataset = Dataset.from_trajectories(**trajectories)
    with pytest.raises(ValueError, match=r"end with \.npz"):
        dataset.save(tmp_path / "own.pkl")
    dataset.save(tmp_path / "own.npz")
    with pytest.warns(UserWarning, match="leaves out"):
        chunked = dataset.with_decisions(action_chunk=2, discount=0.9)
    with pytest.raises(ValueError, match="last 2 steps"):
        chunked.save(tmp_path / "own.npz")
    with pytest.raises(OSError, match=r"own\.npz cannot be written"):
        dataset.save(tmp_path / "nowhere" / "own.npz")
    assert Dataset.load(tmp_path / "own.npz").fingerprint() == dataset.fingerprint()


def test_a_description_has_bounds_and_what_is_not_read(tmp_path, trajectories):
    """Ranges of what is learned from, what -1 and 1 stand for, and arrays that nobody asks for."""
    path, ones = tmp_path / "own.npz", np.ones(11)
    wide = trajectories | {"actions": 2 * trajectories["actions"]}
    np.savez(path, **wide, action_low=-2.0, action_high=2.0, successes=ones, note=ones)
    facts = describe(str(path))[path]
    seen = trajectories["observations"]
    assert facts["range of the observations"] == f"{seen.min():.4g} to {seen.max():.4g}"
    assert facts["bounds of the actions"] == "[-2, 2], here [-1, 1]"
    assert facts["arrays that are not read"] == "note, successes"
    rewarded = describe(str(path), reading=Reading(rewards="success", layout="states"))[path]
    assert rewarded["arrays that are not read"] == "note, rewards"
    np.savez(path, **trajectories)
    facts = describe(str(path))[path]
    assert facts["bounds of the actions"] == facts["arrays that are not read"] == "none"
    joints = {"qpos": np.ones((11, 7)), "button_states": np.ones((11, 2))}
    np.savez(path, **trajectories, **joints)
    assert describe(str(path))[path]["arrays that are not read"] == "button_states, qpos"
    given = {field: trajectories[field] for field in ("observations", "actions", "terminals")}
    np.savez(path, **given, **joints)
    assert describe(str(path))[path]["arrays that are not read"] == "none"


def test_a_file_of_ones_own_is_checked_and_described(tmp_path, trajectories):
    """Its numbers are those of the dataset, whichever layout it has."""
    for name, arrays in (("whole", trajectories), ("apart", apart(trajectories))):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **arrays)
        assert check(str(path)) == {path: None}
        facts = describe(str(path))[path]
        expected = {"rows": 11, "transitions": 8, "trajectories": 3, "entries of an action": 2}
        assert expected.items() <= facts.items()
        assert facts["range of the rewards"] == "-3 to -1"
        memory = Dataset.load(path).nbytes
        assert facts["memory on the device (MB)"] == round(memory / 1e6, 3)
