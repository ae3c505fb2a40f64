"""Rewards by success: of files of one's own, and of Minari's infos."""

import json
import warnings

import gymnasium
import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import floq
from tests.data.taken import all_of, take

STATES = np.arange(14.0).reshape(7, 2)
SOLVED = np.array([0, 0, 1, 0, 0, 1])


def save(path, **changes):
    """Six steps of one trajectory, which is solved at the third, goes on, and at its end again."""
    arrays = {
        "observations": STATES[:-1],
        "actions": np.zeros((6, 1)),
        "next_observations": STATES[1:],
        "successes": SOLVED,
        **changes,
    }
    np.savez(path, **{name: one for name, one in arrays.items() if one is not None})
    return path


def load(path):
    return floq.Dataset.load(path, rewards="success")


def test_a_success_earns_1_and_ends_values(tmp_path):
    """Every step is labelled by itself: what comes after a success is kept, and may earn again."""
    found = load(save(tmp_path / "own.npz"))
    batch = all_of(found)
    np.testing.assert_array_equal(batch.observations, STATES[:-1])
    np.testing.assert_array_equal(batch.rewards, SOLVED)
    np.testing.assert_array_equal(batch.masks, 1 - SOLVED)
    # Steps before a success see nothing beyond it.
    sums = found.with_decisions(n_step=3, discount=0.5)
    ahead = take(sums, np.arange(3))
    np.testing.assert_allclose(ahead.rewards, [0.25, 0.5, 1.0])
    np.testing.assert_array_equal(ahead.masks, [0, 0, 0])


def test_a_files_own_rewards_give_way_and_its_ends_stay(tmp_path):
    """Values end where its masks say, a fall for instance, and at each success."""
    rewards, masks = np.full(6, -7.0), np.array([1, 0, 1, 1, 1, 1])
    path = save(tmp_path / "own.npz", rewards=rewards, masks=masks)
    found = load(path)
    batch = all_of(found)
    np.testing.assert_array_equal(batch.rewards, SOLVED)
    np.testing.assert_array_equal(batch.masks, masks * (1 - SOLVED))
    own = floq.Dataset.load(path)
    np.testing.assert_array_equal(all_of(own).rewards, rewards)


def test_whole_trajectories(tmp_path):
    """A success at a last row counts where it is a transition, and is not lost unsaid."""
    changes = {"next_observations": None, "terminals": np.eye(6)[5]}
    path = save(tmp_path / "own.npz", **changes)
    with pytest.raises(ValueError, match=r"masks is 0 at the last row .* layout="):
        load(path)
    found = floq.Dataset.load(path, rewards="success", layout="transitions")
    np.testing.assert_array_equal(all_of(found).rewards, SOLVED)


@pytest.mark.parametrize("masks", [None, np.ones(6)])
def test_successes_that_nobody_reads_are_named(tmp_path, masks):
    """A file without rewards that has them: the error says how they become rewards."""
    changes = {"next_observations": None, "terminals": np.eye(6)[5], "masks": masks}
    with pytest.raises(ValueError, match=r"no array named rewards.*--rewards success"):
        floq.Dataset.load(save(tmp_path / "own.npz", **changes))
    changes["successes"] = None
    with pytest.raises(ValueError, match="no array named rewards") as caught:
        floq.Dataset.load(save(tmp_path / "own.npz", **changes))
    assert "It holds successes" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"successes": None}, "no array named successes; it holds actions"),
        ({"successes": SOLVED * 0.5}, r"own.npz: successes must be 1 .*: row 2 holds 0\.5"),
        ({"successes": SOLVED * np.nan}, "successes must be 1 .*: row 0 holds nan"),
        ({"successes": SOLVED[:, None]}, r"successes has the shape \(6, 1\), where \(6,\) is due"),
        ({"masks": np.ones(5)}, r"successes has the shape \(6,\), where \(5,\) is due"),
    ],
)
def test_faults_are_named(tmp_path, changes, words):
    """File, array, row and value."""
    path = save(tmp_path / "own.npz", **changes)
    with pytest.raises(ValueError, match=words):
        load(path)


def test_rewards_of_lerobot_are_refused_elsewhere(tmp_path):
    """A file has no demonstrations to be told from others."""
    path = save(tmp_path / "own.npz")
    with pytest.raises(ValueError, match="rewards is 'demonstrations', which LeRobot's sets alone"):
        floq.Dataset.load(path, rewards="demonstrations")


def test_what_is_made_of_successes_is_not_streamed(tmp_path):
    """A size that it does not fit into is refused, with what can be streamed."""
    path = tmp_path / "own.npz"
    load(save(path)).save(path)
    reading, config = floq.Reading(rewards="success"), floq.small(floq.FQLConfig(batch_size=4))
    data = floq.DataFile(path, reading=reading, device_memory="10B")
    with pytest.raises(ValueError, match=r"rewards follow from successes.*floq data convert"):
        floq.train(config, data, steps=1, directory=tmp_path / "run")


def box(low, high, shape):
    ends = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return json.dumps({"type": "Box", "dtype": "float32", "shape": list(shape), **ends})


def write_minari(folder, infos):
    """One episode of three steps in Minari's layout, which ends truly, with infos."""
    (folder / "data").mkdir(parents=True)
    spaces = {"observation_space": box(-9, 9, (2,)), "action_space": box(-1, 1, (1,))}
    metadata = {"total_episodes": 1, "data_format": "hdf5", **spaces}
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        group["observations"], group["actions"] = STATES[:4], np.zeros((3, 1))
        group["rewards"] = np.array([5.0, 6.0, 7.0])
        group["terminations"], group["truncations"] = np.arange(3) == 2, np.zeros(3, bool)
        for name, values in infos.items():
            group[f"infos/{name}"] = values
    return folder


@pytest.mark.parametrize(
    "infos",
    [
        {"success": [1.0, 0.0, 1.0, 0.0]},  # The first is the reset's.
        {"is_success": [False, True, False]},
        {"is_success": np.array([[0], [0], [1], [0]]), "speed": np.zeros(4)},
    ],
)
def test_infos_of_minari(tmp_path, infos):
    """The second step solves the task, and the third one's own end stays."""
    found = load(write_minari(tmp_path / "set", infos))
    batch = all_of(found)
    np.testing.assert_array_equal(batch.rewards, [0, 1, 0])
    np.testing.assert_array_equal(batch.masks, [1, 0, 0])


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ({}, "episode_0: infos hold neither success nor is_success.*none: .*record_infos"),
        ({"speed": np.zeros(4)}, "neither success nor is_success.*there is speed"),
        ({"success": [0.0, 0.5, 0.0]}, r"episode_0: the success of infos must .* row 1 holds 0\.5"),
        (
            {"success": [0.0, 1.0]},
            r"episode_0: successes has the shape \(2,\), and rewards have 3 rows",
        ),
    ],
)
def test_infos_that_do_not_tell_are_refused(tmp_path, infos, words):
    """With what there is, and how to collect them."""
    with pytest.raises(ValueError, match=words):
        load(write_minari(tmp_path / "set", infos))


class Line(gymnasium.Env):
    """A place that grows by 1 a step, and is solved at each third one."""

    observation_space = gymnasium.spaces.Box(-99, 99, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return np.zeros(1, np.float32), {"success": False}

    def step(self, action):
        self.place += 1
        place = np.full(1, self.place, np.float32)
        return place, 5.0, False, self.place == 6, {"success": self.place % 3 == 0}


# minari's collector leaves a temporary folder to be cleaned up when it is forgotten.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.extras
@pytest.mark.parametrize("kind", ["hdf5", "arrow"])
def test_what_minari_collects(tmp_path, monkeypatch, kind):
    """Of the infos that it records, those of the steps are taken, and not the reset's."""
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    gymnasium.register("FloqLine-v0", f"{__name__}:Line")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = gymnasium.make("FloqLine-v0")
            env = minari.DataCollector(made, record_infos=True, data_format=kind)
            for _ in range(2):
                env.reset(seed=0)
                for _ in range(6):
                    env.step(np.zeros(1, np.float32))
            env.create_dataset("line/own-v0", algorithm_name="none", description="-")
            env.close()
    finally:
        del gymnasium.registry["FloqLine-v0"]
    batch = load("minari:line/own-v0").take(jnp.arange(12))
    np.testing.assert_array_equal(batch.observations[:, 0], np.tile(np.arange(6), 2))
    np.testing.assert_array_equal(batch.rewards, np.tile([0, 0, 1], 4))
    np.testing.assert_array_equal(batch.masks, np.tile([1, 1, 0], 4))
