"""robomimic's files of demonstrations."""

import h5py
import numpy as np
import pytest

import floq
from floq.data.formats import find_source
from tests.data.taken import all_of

LENGTHS = {"demo_0": 3, "demo_2": 4, "demo_10": 2}


@pytest.fixture
def path(tmp_path):
    """Three demonstrations, each of which succeeds at its end."""
    path = tmp_path / "low_dim.hdf5"
    with h5py.File(path, "w") as file:
        for number, (name, length) in enumerate(LENGTHS.items()):
            demo = file.create_group(f"data/{name}")
            rows = np.arange(length) + 100.0 * number
            for folder, shift in (("obs", 0), ("next_obs", 1)):
                demo[f"{folder}/object"] = np.stack([rows + shift] * 3, axis=1)
                demo[f"{folder}/eef_pos"] = -np.stack([rows + shift] * 2, axis=1)
                demo[f"{folder}/agentview_image"] = np.zeros((length, 8, 8, 3), np.uint8)
            demo["actions"] = np.full((length, 2), 0.25)
            demo["rewards"] = np.eye(1, length, length - 1)[0]
            demo["dones"] = np.eye(1, length, length - 1)[0].astype(int)
        file["mask/train"] = np.array([b"demo_10", b"demo_0"])
        file["mask/lost"] = np.array([b"demo_7"])
    return path


def test_demonstrations_by_hand(path):
    """In the order of their numbers, parts in sorted order, ended by dones."""
    dataset = floq.Dataset.load(path, observation_keys=("object", "eef_pos"))
    assert find_source(path).format == "robomimic"
    batch = all_of(dataset)
    rows = np.array([0, 1, 2, 100, 101, 102, 103, 200, 201])
    np.testing.assert_array_equal(batch.observations, rows[:, None] * np.array([-1, -1, 1, 1, 1]))
    np.testing.assert_array_equal(batch.next_observations[:, 2], rows + 1)
    np.testing.assert_array_equal(batch.rewards, [0, 0, 1, 0, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(batch.masks, 1 - np.asarray(batch.rewards))
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 0, 1, 1, 1, 0, 1, 0])


def test_filter_keys(path):
    """Only the demonstrations of the list, still by number; what is not there is named."""
    keys = ("object",)
    chosen = floq.Dataset.load(path, observation_keys=keys, filter_key="train")
    np.testing.assert_array_equal(
        chosen.observations[chosen.transitions][:, 0], [0, 1, 2, 200, 201]
    )
    with pytest.raises(ValueError, match="filter_key is 'test', and under mask there is lost, tra"):
        floq.Dataset.load(path, observation_keys=keys, filter_key="test")
    with pytest.raises(ValueError, match="mask/lost names 'demo_7', which is not there"):
        floq.Dataset.load(path, observation_keys=keys, filter_key="lost")


def test_images_beside_vectors(path):
    """Observations and next ones are dictionaries of the chosen parts, images and vectors."""
    with h5py.File(path, "a") as file:
        for number, name in enumerate(LENGTHS):
            for folder, shift in (("obs", 0), ("next_obs", 1)):
                images = file[f"data/{name}/{folder}/agentview_image"]
                rows = np.arange(len(images)) + 10 * number + shift
                images[...] = rows.astype(np.uint8)[:, None, None, None]
    dataset = floq.Dataset.load(path, observation_keys=("agentview_image", "object"))
    batch = all_of(dataset)
    rows = np.array([0, 1, 2, 10, 11, 12, 13, 20, 21])
    for observed, shift in ((batch.observations, 0), (batch.next_observations, 1)):
        seen = dataset.form.unpack(np.asarray(observed))
        assert {name: values.shape[1:] for name, values in seen.items()} == {
            "agentview_image": (8, 8, 3),
            "object": (3,),
        }
        np.testing.assert_array_equal(seen["agentview_image"][:, 7, 7, 2], rows + shift)
        np.testing.assert_array_equal(seen["object"][:, 0] % 100, rows % 10 + shift)


@pytest.mark.parametrize(
    ("folder", "shape", "words"),
    [
        ("obs", (8, 4, 6), r"demo_2: obs hold an image \[8, 4, 6\].*, and next_obs an image"),
        (None, (4, 8, 3), r"demo_2: observations hold an image \[4, 8, 3\].*of demo_0 an image"),
    ],
)
def test_images_of_one_size(path, folder, shape, words):
    """Those of a next observation, and of another demonstration, are as large."""
    with h5py.File(path, "a") as file:
        for own in [folder] if folder else ["obs", "next_obs"]:
            del file[f"data/demo_2/{own}/agentview_image"]
            file[f"data/demo_2/{own}/agentview_image"] = np.zeros((4, *shape), np.uint8)
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(path, observation_keys=("agentview_image",))


def test_without_next_observations(path):
    """The last state is unknown: a transition that was done counts, one that was cut does not."""
    with h5py.File(path, "a") as file:
        for name in LENGTHS:
            del file[f"data/{name}/next_obs"]
        file["data/demo_2/dones"][...] = 0
    with pytest.warns(UserWarning, match="1 transitions, the last ones of trajectories"):
        dataset = floq.Dataset.load(path, observation_keys=("object",))
    assert dataset.size == 8


@pytest.mark.parametrize(
    ("demo", "gone", "words"),
    [
        ("demo_2", ["next_obs"], "demo_2: it holds .*, and demo_0 .*next_observations"),
        ("demo_0", ["next_obs"], "demo_2: it holds .*next_observations.*, and demo_0 "),
        ("demo_2", ["obs"], "no data/demo_2/obs; there is actions"),
        ("demo_2", ["obs", "next_obs"], "no data/demo_2/obs; there is actions"),
    ],
)
def test_demonstrations_of_other_groups(path, demo, gone, words):
    """One that lacks what others have, or has what they lack, is named beside the first."""
    with h5py.File(path, "a") as file:
        for folder in gone:
            del file[f"data/{demo}/{folder}"]
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(path, observation_keys=("object",))


def test_images_of_floats_are_refused(path):
    """They would be read as long vectors; parts that are not read may hold anything."""
    with h5py.File(path, "a") as file:
        for folder in ("obs", "next_obs"):
            file[f"data/demo_0/{folder}/depth"] = np.zeros((3, 8, 8, 1), np.float32)
            file[f"data/demo_0/{folder}/words"] = np.array([b"x"] * 3)
    with pytest.raises(ValueError, match=r"depth holds float32 of the shape \(8, 8, 1\).*uint8"):
        floq.Dataset.load(path, observation_keys=("depth", "object"))
    assert floq.Dataset.load(path, observation_keys=("object",)).size == 9


def test_a_demonstration_without_rows(path):
    """It is named, and the file is not called damaged."""
    with h5py.File(path, "a") as file:
        for name in ("obs/object", "next_obs/object", "actions", "rewards", "dones"):
            values = file[f"data/demo_2/{name}"][:0]
            del file[f"data/demo_2/{name}"]
            file[f"data/demo_2/{name}"] = values
    with pytest.raises(ValueError, match="demo_2/obs: observations have no row"):
        floq.Dataset.load(path, observation_keys=("object",))


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("rewards", np.array([0, np.nan, 0, 1]), "row 4 holds nan.*which is row 1 of demo_2"),
        ("actions", np.full((4, 2), 2.0), "row 3 holds 2.0.*which is row 0 of demo_2"),
        ("actions", np.zeros((4, 3)), r"demo_2: actions has rows of shape \(3,\), and .*demo_0"),
        ("dones", np.array([0, 0, 3, 1]), "demo_2: dones must be 0 or 1: row 2 holds 3"),
        ("rewards", np.zeros(3), "demo_2: rewards has 3 rows where 4 are due"),
        ("obs/object", None, "no data/demo_2/obs/object; there is agentview_image, eef_pos"),
    ],
)
def test_faults_are_named(path, field, change, words):
    """File, demonstration, field, row and value."""
    with h5py.File(path, "a") as file:
        del file[f"data/demo_2/{field}"]
        if change is not None:
            file[f"data/demo_2/{field}"] = change
    with pytest.raises(ValueError, match=words) as caught:
        floq.Dataset.load(path, observation_keys=("object",))
    assert str(path) in str(caught.value)
