import numpy as np
import pytest

from floq.envs.make import make_env, spec_of
from floq.envs.slots import Slots
from floq.evaluation import Evaluator
from floq.recording import record

MODULE = "tests.envs.goal_environments"


def towards_goals(observations, keys):
    """One step towards the goal, which stands behind the state, but none towards the third."""
    goals = np.asarray(observations)[:, 2:3]
    return np.where(goals == 3, 0.0, np.sign(goals - np.asarray(observations)[:, :1]))


def test_the_goal_of_ogbench_stands_behind_the_observation():
    """It is the state that the reset gave, or its chosen entries; a step costs 1."""
    env = make_env(f"{MODULE}:Points", goals=[0])
    assert env.observation_space.shape == (3,)
    observation, _ = env.reset(seed=0, options={"task_id": 2})
    np.testing.assert_array_equal(observation, [0, 0, 2])
    observation, reward, *_ = env.step(np.ones(1))
    np.testing.assert_array_equal(observation, [1, 1, 2])
    assert reward == -1
    whole = make_env(f"{MODULE}:Points", goals=[])
    np.testing.assert_array_equal(whole.reset(options={"task_id": 3})[0], [0, 0, 3, -7])


def test_gymnasiums_dictionary_is_put_side_by_side():
    """Achieved goal, observation and desired goal, with the environment's own rewards."""
    env = make_env(f"{MODULE}:Line", goals=[0], max_episode_steps=5)
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(observation[:2], 0)
    goal = observation[2]
    observation, reward, *_ = env.step(np.ones(1))
    np.testing.assert_allclose(observation, [0.5, 0.5, goal])
    assert reward == float(abs(goal - 0.5) < 0.1) - 1
    assert Slots([env]).sizes.goal_count == 0


def test_an_environment_that_counts_goals_of_its_own():
    """What a user calls `goal_count`, of a game for instance, is no number of goals to choose."""
    env = make_env(f"{MODULE}:Scored")
    assert Slots([env]).sizes.goal_count == 0


@pytest.mark.parametrize("processes", [0, 2])
def test_goals_take_turns(processes):
    """Each is met equally often, and its success stands by itself; in worker processes too."""
    env = spec_of(make_env(f"{MODULE}:Points", goals=[0]))
    with Evaluator(env, slots=2, processes=processes) as evaluator:
        result = evaluator.evaluate(towards_goals, episodes=6)
    assert result.goals.tolist() == [1, 2, 3, 1, 2, 3]
    assert result.goal_success_rates == [1, 1, 0]
    assert result.lengths.tolist() == [1, 2, 6, 1, 2, 6]
    assert result.returns.tolist() == [-1, -2, -6, -1, -2, -6]
    figures = result.summary()
    assert figures["success"] == pytest.approx(2 / 3)
    assert [figures[f"success_goal{goal}"] for goal in (1, 2, 3)] == [1, 1, 0]
    assert "by goal 1.00 1.00 0.00" in str(result)


def test_goals_must_count_alike():
    """A number of episodes that is no multiple of the goals is refused."""
    with (
        Evaluator(make_env(f"{MODULE}:Points", goals=[]), processes=0) as evaluator,
        pytest.raises(ValueError, match=r"4 evaluation episodes for 3 goals.*a multiple of 3"),
    ):
        evaluator.evaluate(towards_goals, episodes=4)


def test_a_recording_has_its_episodes_goal():
    """It repeats an episode of the evaluation, goal and all."""
    env = make_env(f"{MODULE}:Points", goals=[0])
    recording = record(towards_goals, env, seed=0, episode=4, render=False)
    np.testing.assert_array_equal(recording.observations[:, 2], 2.0)
    assert len(recording.actions) == 2


@pytest.mark.parametrize(
    ("name", "goals", "message"),
    [
        ("Points", [2], "observations of 2 entries, and the goal is entry 2"),
        ("Line", [], "goals of 1 entries.*give goal_entries from 0 to 0"),
    ],
)
def test_goals_that_are_not_there_are_refused(name, goals, message):
    """The error says what there is."""
    with pytest.raises(ValueError, match=message):
        make_env(f"{MODULE}:{name}", goals=goals)


def test_a_reset_that_says_no_goal_is_refused():
    """With both ways in which an environment has goals."""
    env = make_env(f"{MODULE}:Lying", goals=[])
    with pytest.raises(ValueError, match=r'as info\["goal"\], and gave none.*desired_goal'):
        env.reset(seed=0)


def test_ogbenchs_own_protocol():
    """A maze has five goals, told by the number of the task; a single task has but its own."""
    pytest.importorskip("ogbench")
    env = make_env("pointmaze-medium-navigate-v0", goals=[])
    assert env.spec is not None
    assert env.spec.id == "pointmaze-medium-v0"
    slots = Slots([env])
    assert slots.sizes.goal_count == 5
    simulator = env.unwrapped
    for goal in range(1, 6):
        (seen,) = slots.reset(np.zeros(1, int), np.zeros(1, int), np.array([goal]))
        assert simulator.cur_task_id == goal
        np.testing.assert_allclose(seen[2:], simulator.cur_goal_xy, rtol=1e-6)
        cell = simulator.ij_to_xy(simulator.task_infos[goal - 1]["goal_ij"])
        assert np.abs(seen[2:] - cell).max() <= 1
    single = make_env("pointmaze-medium-navigate-singletask-v0", goals=[])
    assert Slots([single]).sizes.goal_count == 0
