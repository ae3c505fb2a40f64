import math
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from floq.data.memory import ACTION_LIMIT
from floq.data.streamed import StreamedDataset
from floq.envs.make import make_env, spec_of
from floq.tasks import load_task, task_names, task_sizes

# Warnings of OGBench's manipulation environments where there is no display.
pytestmark = pytest.mark.filterwarnings("ignore:.*DISPLAY", "ignore:.*precision lowered")


def collect(environment, *, goal_states, path):
    """Two short random rollouts, with the states of some rows replaced by `goal_states`."""
    env = make_env(environment)
    env.action_space.seed(0)
    simulator = env.unwrapped
    rows = {"observations": [], "actions": [], "qpos": [], "button_states": []}
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        for _ in range(8):
            action = env.action_space.sample()
            rows["observations"].append(observation)
            rows["actions"].append(action)
            rows["qpos"].append(simulator.data.qpos.copy())
            rows["button_states"].append(np.array(getattr(simulator, "_cur_button_states", [])))
            observation = env.step(action)[0]
    arrays = {
        field: np.array(values).astype(np.int64 if field == "button_states" else np.float32)
        for field, values in rows.items()
    }
    if arrays["button_states"].size == 0:
        del arrays["button_states"]
    arrays["terminals"] = np.arange(16) % 8 == 7
    goal_states(simulator, arrays)
    np.savez_compressed(path, **arrays)
    env.close()


def maze_goal(simulator, arrays):
    for row, distance in ((3, 0.0), (7, 0.1), (9, 0.49), (12, 0.51)):
        arrays["qpos"][row, :2] = simulator.cur_goal_xy + np.array([distance, 0.0])


def cube_goal(simulator, arrays):
    first, second = simulator._data.mocap_pos
    arrays["qpos"][2:5, 14:17] = first + np.array([0.0, 0.039, 0.0])
    arrays["qpos"][4:7, 21:24] = second
    arrays["qpos"][9, 14:17] = first + np.array([0.0, 0.041, 0.0])


def scene_goal(simulator, arrays):
    arrays["button_states"][1:3] = 1 - simulator._target_button_states
    arrays["qpos"][2:6, 14:17] = simulator._data.mocap_pos[0]
    arrays["qpos"][4:7, 23] = simulator._target_drawer_pos
    arrays["qpos"][5:8, 24] = simulator._target_window_pos


@pytest.mark.parametrize(
    ("task", "dataset", "goal_states"),
    [
        (
            "pointmaze-medium-navigate-singletask-task3-v0",
            "pointmaze-medium-navigate-v0",
            maze_goal,
        ),
        pytest.param(
            "cube-double-play-singletask-v0",
            "cube-double-play-v0",
            cube_goal,
            marks=pytest.mark.slow,
        ),
        ("scene-play-singletask-task2-v0", "scene-play-v0", scene_goal),
    ],
)
def test_rewards_are_those_of_ogbench(tmp_path, task, dataset, goal_states):
    """Every transition of a file equals that of OGBench's own loader, in the same order.

    Sparse, rewards are -1 wherever they are not 0, in data and environment, and ends the same.
    """
    import ogbench

    environment = task.replace("-navigate", "").replace("-play", "")
    path = tmp_path / f"{dataset}.npz"
    collect(environment, goal_states=goal_states, path=path)
    shutil.copy(path, tmp_path / f"{dataset}-val.npz")
    _, expected, _ = ogbench.make_env_and_datasets(task, dataset_dir=str(tmp_path))
    loaded, env = load_task(task, directory=tmp_path)
    batch = loaded.take(jnp.arange(loaded.size))
    assert loaded.size == 14
    expected["actions"] = np.clip(expected["actions"], -ACTION_LIMIT, ACTION_LIMIT)
    for field in ("observations", "actions", "rewards", "masks", "next_observations"):
        np.testing.assert_array_equal(getattr(batch, field), expected[field], err_msg=field)
    assert set(np.unique(batch.masks)) == {0.0, 1.0}
    assert len(np.unique(batch.rewards)) >= (2 if "maze" in task else 3)
    assert env.spec.id == environment
    sparse, sparse_env = load_task(task, directory=tmp_path, reward="sparse")
    expected["rewards"] = -(expected["rewards"] != 0).astype(np.float32)
    batch = sparse.take(jnp.arange(sparse.size))
    for field in ("rewards", "masks"):
        np.testing.assert_array_equal(getattr(batch, field), expected[field], err_msg=field)
    # Another process builds the same environment, which gives the same rewards.
    again = spec_of(sparse_env).make()
    for one in (sparse_env, again):
        one.reset(seed=0)
        assert one.step(np.zeros(one.action_space.shape))[1] == -1
        one.close()
    assert spec_of(env).kwargs == {}
    env.close()


def test_shards_are_one_dataset(tmp_path):
    """A folder of shards, in memory or streamed, is the file that holds all of their rows."""
    task, name = "pointmaze-medium-navigate-singletask-v0", "pointmaze-medium-navigate-v0"
    path, folder = tmp_path / f"{name}.npz", tmp_path / "shards"
    collect(task.replace("-navigate", ""), goal_states=maze_goal, path=path)
    (folder / name).mkdir(parents=True)
    with np.load(path) as file:
        for number in range(2):
            rows = {field: file[field][8 * number : 8 * number + 8] for field in file}
            np.savez(folder / name / f"{name}-00{number}.npz", **rows)
            np.savez(folder / name / f"{name}-00{number}-val.npz", **rows)
    one, _ = load_task(task, directory=tmp_path)
    other, _ = load_task(task, directory=folder)
    streamed, _ = load_task(task, directory=folder, device_memory="400B")
    assert isinstance(streamed, StreamedDataset)
    assert one.size == other.size == streamed.size == 14
    assert one.fingerprint() == other.fingerprint() == streamed.fingerprint()
    assert one.statistics == streamed.statistics
    parts = streamed.parts(batch_size=2)
    rewards = [streamed.read(parts, number, 0)["rewards"] for number in range(6)]
    assert {0.0, -1.0} == set(np.concatenate(rewards).tolist())


def test_other_rewards_are_refused(tmp_path):
    """What is neither dense nor sparse is named."""
    with pytest.raises(ValueError, match="reward is 'none'"):
        make_env("cube-double-singletask-v0", reward="none")


def test_known_tasks_are_those_of_ogbench():
    """Each single task of OGBench has a name here, but those in which experts walk, in images."""
    import gymnasium
    import ogbench  # noqa: F401

    registered = {
        name
        for name in gymnasium.registry
        if "-singletask" in name and not name.startswith(("visual-ant", "visual-humanoid"))
    }
    words = ("navigate", "stitch", "explore", "play", "noisy")
    environments = set()
    for name in task_names():
        (kind,) = (word for word in name.split("-") if word in words)
        environments.add(name.replace(f"-{kind}", ""))
    assert environments == registered


@pytest.mark.parametrize("kind", ["navigate", pytest.param("play", marks=pytest.mark.slow)])
def test_sizes_are_those_of_the_environments(kind):
    """Every domain's first task, built: entries of its observations and actions."""
    # OGBench itself cannot build it: a material is missing.
    names = set(task_names()) - {"humanoidmaze-teleport-navigate-singletask-task1-v0"}
    for name in sorted(names):
        if name.endswith(f"-{kind}-singletask-task1-v0"):
            env = make_env(name)
            spaces = (env.observation_space.shape, env.action_space.shape)
            assert tuple(map(math.prod, spaces)) == task_sizes(name), name
            env.close()


def test_sizes_go_by_the_exact_name():
    """A dataset and its tasks have the same; one that only begins like another has none."""
    assert task_sizes("cube-double-play-v0") == (37, 5)
    assert task_sizes("humanoidmaze-giant-stitch-singletask-task2-v0") == (69, 21)
    with pytest.raises(ValueError, match="cube-double-player-v0"):
        task_sizes("cube-double-player-v0")


def test_missing_file_names_the_commands(tmp_path):
    """A missing file is named with the commands that make it; experts' data can only be fetched."""
    with pytest.raises(FileNotFoundError) as caught:
        load_task("cube-double-play-singletask-task2-v0", directory=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "cube-double-play-v0.npz") in message
    assert "floq data generate cube-double-play-v0" in message
    assert "floq data download cube-double-play-v0" in message
    with pytest.raises(FileNotFoundError, match="floq data download antmaze-large") as caught:
        load_task("antmaze-large-navigate-singletask-v0", directory=tmp_path)
    assert "generate antmaze" not in str(caught.value)


def test_unknown_tasks_are_refused_with_close_names():
    """A misspelt task is answered with the right one, and a dataset with its tasks."""
    with pytest.raises(ValueError, match="did you mean cube-double-play-singletask-v0"):
        load_task("cube-duoble-play-singletask-v0")
    with pytest.raises(ValueError, match=r"-singletask.*no reward .* goals \(`floq train --g"):
        load_task("scene-play-v0")
    with pytest.raises(ValueError, match="the domains are pointmaze-medium"):
        load_task("xyz")
    with pytest.raises(ValueError, match="the domains are pointmaze-medium"):
        load_task("x" * 300)


def test_a_file_in_the_place_of_a_task_is_told_where_it_belongs(tmp_path):
    """Not which tasks there are: whoever names a file has data of their own."""
    path = tmp_path / "my data.npz"
    path.touch()
    ways = r" of `floq train`, in a sweep by a table \[data.NAME\], in Python by floq.Dataset.load"
    with pytest.raises(ValueError, match=f"is a file: .* by --data '{path}'{ways}"):
        load_task(str(path))
    with pytest.raises(ValueError, match=f"a folder: .*{ways}. A run .* `floq resume {tmp_path}`"):
        load_task(str(tmp_path))
    with pytest.raises(ValueError, match=f"of the format minari: .* --data minari:a/b{ways}"):
        load_task("minari:a/b")


def test_a_folder_of_a_datasets_name_is_no_data_of_ones_own(tmp_path, monkeypatch):
    """Whoever works among shards of OGBench means its dataset."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scene-play-v0").mkdir()
    with pytest.raises(ValueError, match=r"scene-play-singletask.*no reward of its own"):
        load_task("scene-play-v0")


def test_data_of_another_environment_is_refused(tmp_path):
    """A file whose observations do not fit the task's environment is refused by its name."""
    path = tmp_path / "pointmaze-large-navigate-v0.npz"
    rows = np.zeros((3, 4), dtype=np.float32)
    np.savez(path, observations=rows, actions=rows, qpos=rows, terminals=[0, 0, 1])
    with pytest.raises(ValueError, match=r"observations has 4 entries a row.*has 2.*another env"):
        load_task("pointmaze-large-navigate-singletask-v0", directory=tmp_path)
