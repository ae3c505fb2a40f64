"""Minari's folders, as minari writes them and as h5py alone does."""

import json
import warnings

import gymnasium
import h5py
import numpy as np
import pytest

import floq
from floq.data.formats import find_source
from tests.data.taken import all_of, take


def box(low, high, shape, dtype="float32"):
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": dtype, "shape": list(shape), **bounds}


def write(folder, *, episodes=12, observation_space=None, action_space=None, observe=None):
    """Episodes of 3 steps in Minari's layout: even ones end truly, odd ones are cut."""
    (folder / "data").mkdir(parents=True)
    metadata = {
        "total_episodes": episodes,
        "data_format": "hdf5",
        "observation_space": json.dumps(observation_space or box(-9, 9, (2,))),
        "action_space": json.dumps(action_space or box(-2, 2, (1,))),
    }
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for index in range(episodes):
            group = file.create_group(f"episode_{index}")
            states = np.arange(8.0).reshape(4, 2) + 10 * index
            for name, values in (observe(states) if observe else {"observations": states}).items():
                group[f"observations/{name}" if observe else name] = values
            group["actions"] = np.array([[0.0], [1.0], [-2.0]])
            group["rewards"] = np.array([0.0, 1.0, 2.0]) + index
            ends = np.array([False, False, True])
            group["terminations"] = ends & (index % 2 == 0)
            group["truncations"] = ends & (index % 2 == 1)
    return folder


def test_episodes_by_hand(tmp_path):
    """States, rewards and masks are the file's, in the order of episodes; bounds the space's."""
    dataset = floq.Dataset.load(write(tmp_path / "set"))
    assert (dataset.size, dataset.action_low, dataset.action_high) == (36, (-2.0,), (2.0,))
    batch = take(dataset, np.arange(36))
    starts = np.add.outer(10 * np.arange(12), [0, 2, 4]).ravel()
    np.testing.assert_array_equal(batch.observations[:, 0], starts)
    np.testing.assert_array_equal(batch.next_observations[:, 0], starts + 2)
    np.testing.assert_array_equal(batch.rewards, np.add.outer(np.arange(12), [0, 1, 2]).ravel())
    np.testing.assert_allclose(batch.actions[:3, 0], [0, 0.5, -1], atol=2e-5)
    ends = np.tile([1, 1, 0, 1, 1, 1], 6)
    np.testing.assert_array_equal(batch.masks, ends)


def test_found_by_name_folder_and_file(tmp_path, monkeypatch):
    """A set is found where Minari keeps it, by the folder of it or of its data, and by its file."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder = write(tmp_path / "mine" / "arm-v0")
    places = ["minari:mine/arm-v0", folder, folder / "data", folder / "data" / "main_data.hdf5"]
    assert {find_source(place).format for place in places} == {"minari"}
    assert len({floq.Dataset.load(place).fingerprint() for place in places}) == 1
    with pytest.raises(FileNotFoundError, match="minari:mine/leg-v0: no such file"):
        floq.Dataset.load("minari:mine/leg-v0")


def test_parts_are_put_as_flatten_observation_puts_them(tmp_path):
    """Dictionaries, tuples and discrete parts give the rows that the wrapper gives."""
    space = gymnasium.spaces.Dict(
        {
            "b": gymnasium.spaces.Box(-99, 99, (2,)),
            "a": gymnasium.spaces.Dict({"y": gymnasium.spaces.Discrete(3, start=1)}),
            "c": gymnasium.spaces.Tuple([gymnasium.spaces.Box(-99, 99, (1, 2))] * 2),
        }
    )
    described = {
        "type": "Dict",
        "subspaces": {
            "b": box(-99, 99, (2,)),
            "c": {"type": "Tuple", "subspaces": [box(-99, 99, (1, 2))] * 2},
            "a": {"type": "Dict", "subspaces": {"y": {"type": "Discrete", "n": 3, "start": 1}}},
        },
    }

    def observe(states):
        return {
            "b": states,
            "a/y": np.array([1, 2, 3, 1]),
            "c/_index_0": states[:, None],
            "c/_index_1": -states[:, None],
        }

    folder = write(tmp_path / "set", episodes=1, observation_space=described, observe=observe)
    found = floq.Dataset.load(folder)
    for row in range(4):
        state = np.arange(8.0, dtype=np.float32).reshape(4, 2)[row]
        one = {"b": state, "a": {"y": [1, 2, 3, 1][row]}, "c": (state[None], -state[None])}
        expected = gymnasium.spaces.flatten(space, one)
        np.testing.assert_array_equal(found.observations[row], expected)
    some = floq.Dataset.load(folder, observation_keys=("c", "b"))
    np.testing.assert_array_equal(some.observations, found.observations[:, 3:])
    with pytest.raises(ValueError, match=r"observation_keys has 'd': there is a/y, b, c/_index_0"):
        floq.Dataset.load(folder, observation_keys=("d",))


def test_images_stay_beside_vectors(tmp_path):
    """With a part of images, observations are the dictionary that the space shows, row by row."""
    space = {
        "type": "Dict",
        "subspaces": {
            "x": box(-9, 9, (1, 2)),
            "inner": {"type": "Dict", "subspaces": {"pixels": box(0, 255, (2, 4, 3), "uint8")}},
        },
    }
    pixels = lambda states: np.uint8(states[:, 0])[:, None, None, None] + np.zeros((2, 4, 3), "u1")
    observe = lambda states: {"x": states[:, None], "inner/pixels": pixels(states)}
    folder = write(tmp_path / "set", episodes=2, observation_space=space, observe=observe)
    dataset = floq.Dataset.load(folder)
    batch = take(dataset, np.arange(6))
    for rows, firsts in (
        (batch.observations, [0, 2, 4, 10, 12, 14]),
        (batch.next_observations, [2, 4, 6, 12, 14, 16]),
    ):
        seen = dataset.form.unpack(np.asarray(rows))
        np.testing.assert_array_equal(seen["x"][:, 0], firsts)
        assert seen["inner"]["pixels"].shape == (6, 2, 4, 3)
        np.testing.assert_array_equal(seen["inner"]["pixels"][:, 1, 3, 2], firsts)
    assert floq.Dataset.load(folder, observation_keys=("x",)).form is None


def test_images_alone(tmp_path):
    """A space that is a box of bytes gives images without a name; one without channels is none."""
    folder = write(tmp_path / "set", observation_space=box(0, 255, (2, 4, 3), "uint8"))
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        for index in range(12):
            del file[f"episode_{index}/observations"]
            file[f"episode_{index}/observations"] = np.full((4, 2, 4, 3), index, np.uint8)
    dataset = floq.Dataset.load(folder)
    assert [part.name for part in dataset.form.parts] == [""]
    images = dataset.form.unpack(np.asarray(take(dataset, np.arange(36)).observations))
    np.testing.assert_array_equal(images[:, 1, 3, 2], np.repeat(np.arange(12), 3))
    flat = write(tmp_path / "flat", observation_space=box(0, 255, (84, 84), "uint8"))
    with pytest.raises(ValueError, match=r"bytes of the shape \(84, 84\), and an image has three"):
        floq.Dataset.load(flat)


def spoil(name, value):
    """Puts other values into the third episode."""

    def harm(file):
        values = file[f"episode_2/{name}"][()]
        del file[f"episode_2/{name}"]
        changed = value(values)
        if changed is not None:
            file[f"episode_2/{name}"] = changed

    return harm


def at(row, value):
    def change(values):
        values[row] = value
        return values

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("observations", at((1, 0), np.nan), r"row 9 holds nan.*which is row 1 of episode_2"),
        ("rewards", at(1, np.inf), r"rewards must be finite.*which is row 1 of episode_2"),
        ("actions", at((2, 0), 3.0), r"within \[-2, 2\]: row 10 holds 3\.0.*row 2 of episode_2"),
        ("actions", lambda values: values[:2], r"episode_2: actions has the shape \(2, 1\)"),
        (
            "observations",
            lambda values: values[:3],
            r"episode_2: observations has the shape \(3, 2\)",
        ),
        ("rewards", lambda values: None, "no episode_2/rewards; there is actions"),
        ("rewards", lambda values: ["text"] * 3, "episode_2/rewards holds values of type object"),
        ("terminations", at(0, True), "episode_2: terminations or truncations are true at row 0"),
    ],
)
def test_faults_are_named(tmp_path, name, change, words):
    """File, episode, field, row and value."""
    folder = write(tmp_path / "set")
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        spoil(name, change)(file)
    with pytest.raises(ValueError, match=words) as caught:
        floq.Dataset.load(folder)
    assert str(folder) in str(caught.value)


def nested_spaces(name, depth):
    """The description of a box in so many dictionaries of one part."""
    part = json.dumps({"type": "Dict", "subspaces": {name: "INNER"}})
    text = '"INNER"'
    for _ in range(depth):
        text = text.replace('"INNER"', part)
    return text.replace('"INNER"', json.dumps(box(-9, 9, (2,))))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"total_episodes": 13}, "no episode_12; there is episode_0"),
        ({"total_episodes": -1}, "total_episodes is -1"),
        ({"data_format": "zarr"}, "data_format is 'zarr': floq reads hdf5, arrow and parquet"),
        ({"action_space": '{"type": "Discrete", "n": 2}'}, "floq has no discrete actions"),
        ({"action_space": "[" * 100_000}, "action_space cannot be read"),
        ({"observation_space": '{"type": "Graph"}'}, "observation_space is 'Graph'"),
        ({"observation_space": nested_spaces("a", 12)}, "a/a cannot be read: its parts are too de"),
        ({"observation_space": nested_spaces("", 1)}, "its parts are too deep, or have no names"),
        ({"observation_space": nested_spaces("", 450)}, "its parts are too deep, or have no names"),
    ],
)
def test_faults_of_the_description(tmp_path, changes, words):
    """What metadata.json says wrongly is named."""
    folder = write(tmp_path / "set")
    file = folder / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(folder)


def test_sets_are_joined(tmp_path):
    """Transitions of several sets follow one another; sets of other environments are refused."""
    one, two = write(tmp_path / "one", episodes=2), write(tmp_path / "two", episodes=3)
    joined = floq.Dataset.load([one, two])
    parts = [floq.Dataset.load(path) for path in (one, two)]
    batch = all_of(joined)
    for field in batch._fields:
        if getattr(batch, field) is None:  # Data has no observations for the policy alone.
            continue
        if getattr(batch, field) is None:
            continue
        values = [getattr(all_of(part), field) for part in parts]
        np.testing.assert_array_equal(getattr(batch, field), np.concatenate(values))
    other = write(tmp_path / "other", action_space=box(-3, 3, (1,)))
    with pytest.raises(
        ValueError, match=r"bounds of actions: .*-2\.0.* in the first set, and .*-3"
    ):
        floq.Dataset.load([one, other])


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Sets that minari itself has written, of Pendulum and of an environment of dictionaries."""
    minari = pytest.importorskip("minari")
    root = tmp_path_factory.mktemp("minari")
    entry = "tests.data.formats.dictionaries:Dictionaries"
    gymnasium.register("FloqDict-v0", entry)
    gymnasium.register("FloqPhotos-v0", entry, kwargs={"side": 32})
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        for kind in ("hdf5", "arrow", "parquet"):
            for name, env_id in (
                ("pendulum", "Pendulum-v1"),
                ("dict", "FloqDict-v0"),
                ("photos", "FloqPhotos-v0"),
            ):
                env = minari.DataCollector(
                    gymnasium.make(env_id), data_format=kind, jpeg_encoding=name == "photos"
                )
                env.action_space.seed(0)
                env.reset(seed=0)
                for _ in range(210):
                    *_, terminated, truncated, _ = env.step(env.action_space.sample())
                    if terminated or truncated:
                        env.reset(seed=1)
                env.create_dataset(f"{name}/{kind}-v0", algorithm_name="random", description="-")
                env.close()
    return root


# minari's collector leaves a temporary folder to be cleaned up when it is forgotten.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.extras
@pytest.mark.parametrize("kind", ["hdf5", "arrow", "parquet"])
def test_what_minari_writes(collected, kind, monkeypatch):
    """In all of its storages: the transitions that minari itself reads, and the spaces' bounds."""
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(collected))
    keys = {"pendulum": (), "dict": ("goal", "observation")}
    for name, chosen in keys.items():
        found = floq.Dataset.load(f"minari:{name}/{kind}-v0", observation_keys=chosen)
        start = 0
        for episode in minari.load_dataset(f"{name}/{kind}-v0").iterate_episodes():
            steps = len(episode.rewards)
            batch = take(found, np.arange(start, start + steps))
            states = episode.observations
            if chosen:
                states = np.concatenate([states[key] for key in chosen], axis=1)
            np.testing.assert_array_equal(batch.observations, np.float32(states[:-1]))
            alive = np.asarray(batch.masks) == 1
            np.testing.assert_array_equal(
                np.asarray(batch.next_observations)[alive], np.float32(states[1:])[alive]
            )
            np.testing.assert_array_equal(batch.rewards, np.float32(episode.rewards))
            np.testing.assert_array_equal(batch.masks, 1 - episode.terminations)
            start += steps
        assert found.size == start
        assert found.action_high == ((2.0,) if name == "pendulum" else (1.0, 1.0))
    for name in ("dict", "photos"):  # Of which Minari keeps the second as JPEG.
        _check_images(floq.Dataset.load(f"minari:{name}/{kind}-v0"), f"{name}/{kind}-v0")


def _check_images(found, name):
    """With the images, a batch has the dictionaries that minari gives."""
    import minari

    start = 0
    for episode in minari.load_dataset(name).iterate_episodes():
        steps = len(episode.rewards)
        batch = take(found, np.arange(start, start + steps))
        seen = found.form.unpack(np.asarray(batch.observations))
        assert seen.keys() == {"goal", "observation", "pixels"}
        for part, values in seen.items():
            np.testing.assert_array_equal(
                values, episode.observations[part][:-1].astype(values.dtype)
            )
        start += steps
