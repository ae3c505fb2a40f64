"""Environments that are rewarded by success alone."""

import gymnasium
import numpy as np
import pytest

from floq.envs import EnvironmentSpec, make_env, spec_of
from floq.envs.preflight import preflight
from floq.envs.vector import VectorEnvironment

TOY = "toy_environments:Toy-v0"
ACTION = np.zeros(2, np.float32)


def test_the_step_of_success_earns_1_and_ends_the_episode():
    """Every other one earns 0, whatever the environment pays."""
    env = make_env(TOY, length=9, success_at=3, success_reward=True)
    env.reset(seed=0)
    steps = [env.step(ACTION)[1:4] for _ in range(3)]
    assert steps == [(0.0, False, False), (0.0, False, False), (1.0, True, False)]
    env.close()


def test_the_environments_own_ends_stay():
    """An episode that ends without success earns nothing."""
    env = make_env(TOY, length=2, success_at=5, success_reward=True)
    env.reset(seed=0)
    assert [env.step(ACTION)[1:3] for _ in range(2)] == [(0.0, False), (0.0, True)]
    env.close()


def test_a_spec_takes_it_to_a_worker_process():
    """There rewards, ends and successes are the same, with a time limit besides."""
    env = make_env(TOY, length=9, success_at=2, max_episode_steps=4, success_reward=True)
    spec = spec_of(env)
    env.close()
    assert spec.kwargs["success_reward"] is True
    assert spec == EnvironmentSpec.from_json(spec.to_json())
    with VectorEnvironment(spec, count=2, processes=1) as slots:
        slots.reset(np.arange(2), np.arange(2))
        steps = [slots.step(np.arange(2), np.zeros((2, 2))) for _ in range(2)]
    np.testing.assert_array_equal([one.rewards for one in steps], [[0, 0], [1, 1]])
    np.testing.assert_array_equal([one.terminated for one in steps], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(steps[1].successes, [1, 1])
    plain = make_env(TOY, length=9)
    assert "success_reward" not in spec_of(plain).kwargs
    plain.close()


class Told(gymnasium.Env):
    """Reports as its success whatever it was given."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, told):
        self.told = told

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 3.0, False, False, {"is_success": self.told}


def make_told(told):
    return Told(np.array(told) if isinstance(told, list) else told)


@pytest.mark.parametrize("told", [True, 1.0, [1], [True]])
def test_is_success_counts_too(told):
    """As one number, in an array or not."""
    env = make_env(f"{__name__}:make_told", told=told, max_episode_steps=9, success_reward=True)
    env.reset(seed=0)
    assert env.step(np.zeros(1, np.float32))[1:3] == (1.0, True)
    env.close()


@pytest.mark.parametrize("told", [None, 0.5, "yes", [0, 1]])
def test_what_tells_no_success_is_refused(told):
    """At its first step, with the way out."""
    env = make_env(f"{__name__}:make_told", told=told, max_episode_steps=9, success_reward=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="have the info of each step hold success or is_success"):
        env.step(np.zeros(1, np.float32))
    env.close()


@pytest.mark.parametrize("in_worker", [False, True])
def test_an_environment_without_successes_is_refused_before_training(in_worker):
    """By its name, and by nothing that has to do with worker processes."""
    spec = EnvironmentSpec("Pendulum-v1", {"success_reward": True})
    with pytest.raises(ValueError, match=r"'Pendulum-v1' .*leave out success_reward") as caught:
        preflight(spec, in_worker=in_worker, is_related=True, bounds=((-2.0,), (2.0,)))
    assert "module:Id-v0" not in str(caught.value)
