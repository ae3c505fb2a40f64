"""Generated datasets: what is in them is what their environments do, and their recipes say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import ogbench
import pytest
from generated import MAZE, load, make

from floq.data.generation import find_recipe, generatable_names
from floq.data.generation.episodes import seed_episode
from floq.data.generation.worker import make_collector

read_with_ogbench: Any = ogbench.make_env_and_datasets
# Both come with OGBench's environments on a machine without a screen.
quiet = pytest.mark.filterwarnings("ignore:.*DISPLAY", "ignore:.*precision lowered")


@quiet
def test_ogbench_reads_a_maze_and_labels_its_rewards(tmp_path: Path):
    """OGBench gives reward 0 to the rows within 1 of the task's goal and -1 to all others."""
    make(tmp_path, episodes=5, steps=1001)
    task = "pointmaze-medium-navigate-singletask-v0"
    env, train, validation = read_with_ogbench(task, dataset_dir=str(tmp_path))
    assert len(train["rewards"]) == 5 * 1000
    assert len(validation["rewards"]) == 1000
    distance = np.linalg.norm(train["observations"] - env.unwrapped.cur_goal_xy, axis=1)
    np.testing.assert_array_equal(train["rewards"], np.where(distance <= 1.0, 0.0, -1.0))
    assert 0 < np.count_nonzero(train["rewards"] == 0.0) < 2500


@quiet
@pytest.mark.parametrize("name", ["pointmaze-medium-stitch-v0", "pointmaze-giant-navigate-v0"])
def test_maze_transitions_are_real(name: str):
    """The environment, put into a recorded state, answers the recorded action as recorded."""
    collector = make_collector(replace(find_recipe(name), rows=200))
    recorded = collector.collect(0, 0)
    env = read_with_ogbench(name, env_only=True).unwrapped
    env.reset()
    for row in range(199):
        env.set_state(recorded["qpos"][row], recorded["qvel"][row])
        reached = env.step(recorded["actions"][row])[0]
        np.testing.assert_allclose(reached, recorded["observations"][row + 1], atol=1e-4)


@quiet
def test_stitch_stays_near_its_start_and_navigate_travels():
    """A stitch trajectory ends at most four cells from its start; navigation goes on beyond."""
    cells = {}
    for behaviour in ("stitch", "navigate"):
        recipe = find_recipe(f"pointmaze-large-{behaviour}-v0")
        collector = make_collector(replace(recipe, rows=600))
        places = np.stack([collector.collect(0, k)["qpos"] for k in range(8)])
        # A cell is 4 wide.
        cells[behaviour] = np.abs(places[:, -200:] - places[:, :1]).sum(-1).max(-1) / 4
    assert cells["stitch"].max() < 5.0
    assert cells["navigate"].max() > 7.0


@quiet
def test_noise_of_mazes_is_that_of_the_recipe():
    """Without noise a maze action has length 1; with it the clipped lengths scatter."""
    recipe = replace(find_recipe(MAZE), rows=500)
    lengths = {}
    for noise in (0.0, recipe.noise):
        actions = make_collector(replace(recipe, noise=noise)).collect(0, 0)["actions"]
        lengths[noise] = np.linalg.norm(actions, axis=1)
    np.testing.assert_allclose(lengths[0.0], 1.0, atol=1e-3)
    assert recipe.noise == 0.5
    assert 0.2 < lengths[0.5].std() < 0.5


@quiet
def test_cube_transitions_are_real():
    """A cube episode is its own actions, replayed; each state follows from the recorded one."""
    recipe = replace(find_recipe("cube-single-play-v0"), rows=60)
    collector = make_collector(recipe)
    collector.collect(0, 0)
    recorded = collector.collect(0, 1)
    observations = recorded["observations"]
    env: Any = gymnasium.make(
        "cube-single-v0", disable_env_checker=True, mode="data_collection", terminate_at_goal=False
    ).unwrapped
    _, reset_seed = seed_episode(0, 1, 0)
    np.testing.assert_allclose(env.reset(seed=reset_seed)[0], observations[0], atol=1e-5)
    for row in range(59):
        reached = env.step(recorded["actions"][row])[0]
        np.testing.assert_allclose(reached, observations[row + 1], atol=1e-5)

    # Positions and velocities are not the whole state: the arm's pose lags by one simulation step.
    errors = np.empty((59, observations.shape[1]))
    for row in range(59):
        env.set_state(recorded["qpos"][row], recorded["qvel"][row])
        errors[row] = env.step(recorded["actions"][row])[0] - observations[row + 1]
    moves = np.abs(np.diff(observations, axis=0)).max(0)
    assert (moves > 0.05).sum() > 10
    assert (np.abs(errors).max(0) < 0.005 + 0.1 * moves).all()


@pytest.mark.slow
@quiet
@pytest.mark.parametrize(
    "name", [n for n in generatable_names() if not n.startswith("pointmaze-medium")]
)
def test_every_dataset_can_be_generated_and_read(name: str, tmp_path: Path):
    """OGBench labels each family's files, and their episodes do not depend on earlier ones."""
    train = make(tmp_path, name, episodes=2, steps=120, processes=2)
    task = name.removesuffix("-v0") + "-singletask-v0"
    if "teleport" not in name:
        env, data, _ = read_with_ogbench(task, dataset_dir=str(tmp_path))
        assert data["observations"].shape == (2 * 119, *env.observation_space.shape)
        assert data["rewards"].shape == data["masks"].shape == (2 * 119,)
        assert len(np.unique(data["observations"], axis=0)) == 2 * 119
    alone = make_collector(replace(find_recipe(name), rows=120)).collect(0, 1)
    for key, values in load(train).items():
        np.testing.assert_array_equal(values[120:], alone[key])


@pytest.mark.slow
@quiet
def test_noise_of_manipulation_is_that_of_the_recipe():
    """Noise scatters closed-loop actions and roughens plans; random actions fill the range."""
    noisy = replace(find_recipe("cube-single-noisy-v0"), rows=200)
    silent = replace(noisy, noise=0.0, random_actions=0.0)
    gripper = {
        recipe: make_collector(recipe).collect(0, 0)["actions"][:, 4] for recipe in (noisy, silent)
    }
    assert set(np.unique(gripper[silent])) == {-1.0, 1.0}
    assert len(np.unique(gripper[noisy])) > 50
    random = make_collector(replace(noisy, random_actions=1.0)).collect(0, 0)["actions"]
    np.testing.assert_allclose(random.std(0), 1 / np.sqrt(3), atol=0.08)

    play = replace(find_recipe("cube-single-play-v0"), rows=200)
    roughness = {
        noise: np.abs(
            np.diff(
                make_collector(replace(play, noise=noise)).collect(0, 0)["actions"][:, :3], axis=0
            )
        ).mean()
        for noise in (0.0, play.noise)
    }
    assert roughness[play.noise] > 1.2 * roughness[0.0]


@pytest.mark.slow
@quiet
def test_scenes_in_which_the_cube_leaves_sight_are_collected_again(monkeypatch: pytest.MonkeyPatch):
    """A scene episode is drawn anew until its cube stays in sight."""
    from floq.data.generation import manipulation

    verdicts = iter([False, False, True])
    monkeypatch.setattr(manipulation, "_block_in_sight", lambda qpos: next(verdicts))
    collector: Any = make_collector(replace(find_recipe("scene-play-v0"), rows=20))
    third = collector.collect(0, 0)
    assert list(verdicts) == []
    np.testing.assert_array_equal(third["qpos"], collector._attempt(0, 0, 2)["qpos"])
