"""Making environments: ids, spaces, rewards, and specs."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import toy_environments

from floq.envs import EnvironmentSpec, environment_id, make_env, spec_of
from floq.envs.make import time_limit
from floq.envs.vector import VectorEnvironment, WorkerError

MAZE = "pointmaze-medium-navigate-singletask-task1-v0"
TOY = "toy_environments:Toy-v0"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("cube-double-play-singletask-task2-v0", "cube-double-singletask-task2-v0"),
        ("cube-double-play-singletask-v0", "cube-double-singletask-v0"),
        ("antmaze-large-navigate-singletask-task5-v0", "antmaze-large-singletask-task5-v0"),
        ("pointmaze-teleport-stitch-singletask-v0", "pointmaze-teleport-singletask-v0"),
        ("cube-double-singletask-task2-v0", "cube-double-singletask-task2-v0"),
        ("MountainCarContinuous-v0", "MountainCarContinuous-v0"),
        ("my_module:Robot-play-v0", "my_module:Robot-play-v0"),
    ],
)
def test_id_is_the_task_without_its_dataset_type(task, expected):
    """Only a singletask's dataset word is removed, and a second time nothing is."""
    assert environment_id(task) == expected
    assert environment_id(expected) == expected


@pytest.mark.parametrize("task", ["pointmaze-medium-navigate-singletask-v0", "Pendulum-v1"])
def test_made_environments_are_what_a_policy_expects(task):
    """Observations are flat floats and actions are in [-1, 1], whatever the environment's scale."""
    env = make_env(task)
    assert len(env.observation_space.shape) == 1
    np.testing.assert_array_equal(env.action_space.low, -1)
    np.testing.assert_array_equal(env.action_space.high, 1)
    env.close()


def test_actions_are_rescaled_to_the_environments_own():
    """Half of the policy's range is half of an environment's range of [-4, 4]."""
    env = make_env(TOY, high=4.0)
    env.reset(seed=0)
    env.step(np.array([0.5, -1.0], np.float32))
    np.testing.assert_allclose(env.unwrapped.actions[-1], [2.0, -4.0])


def _steps_to_reward(env):
    """The steps until the reward that the goal pays, and those until the point is in the goal."""
    env.reset(seed=0)
    maze = env.unwrapped
    maze.set_xy(np.array(maze.cur_goal_xy) - np.array([1.3, 0.0]))
    inside = None
    for step in range(1, 20):
        _, reward, terminated, _, info = env.step(np.array([0.5, 0.0], np.float32))
        if inside is None and maze.compute_success():
            inside = step
        if reward == 0.0:
            assert terminated
            assert info["success"] == 1.0
            return step, inside
    raise AssertionError("the point never reached its goal")


def test_success_timing_differs_by_one_step():
    """'post' pays at the step that enters the goal, and 'pre' one step later."""
    step, inside = _steps_to_reward(make_env(MAZE, success_timing="post"))
    assert step == inside
    step, inside = _steps_to_reward(make_env(MAZE))
    assert step == inside + 1


def test_success_timing_is_refused_where_there_is_none():
    """An environment without the choice says so instead of ignoring it."""
    with pytest.raises(ValueError, match=r"Pendulum-v1.*no success_timing"):
        make_env("Pendulum-v1", success_timing="post")
    with pytest.raises(ValueError, match=r"'after'.*must be 'pre' or 'post'"):
        make_env(MAZE, success_timing="after")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Counter-v0", r"Discrete\(3\).*continuous"),
        ("Picture-v0", r"\(8, 8, 3\).*flat Box of floats"),
        ("Unbounded-v0", "unbounded actions.*finite bounds"),
    ],
)
def test_unfit_spaces_are_named(name, message):
    """Spaces that floq cannot act in are refused with the space and a way out."""
    with pytest.raises(ValueError, match=message):
        make_env(f"toy_environments:{name}")


def test_unknown_ids_come_with_close_matches():
    """A misspelt task names what was probably meant; a missing module is named."""
    with pytest.raises(ValueError, match=r"Did you mean.*cube-double-singletask-v0"):
        make_env("cube-dubble-play-singletask-v0")
    with pytest.raises(ValueError, match="no_such_module"):
        make_env("no_such_module:Env-v0")


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_env(MAZE, success_timing="post"),
        lambda: make_env("Pendulum-v1", render_mode="rgb_array", g=5.0),
        lambda: make_env(TOY, length=7, high=2.0),
        lambda: gymnasium.make(TOY, length=7, max_episode_steps=3),
        lambda: gymnasium.make("pointmaze-medium-singletask-v0"),
    ],
)
def test_spec_rebuilds_the_same_environment(make):
    """A spec that went through JSON builds an environment that behaves as the first one."""
    first = make()
    spec = EnvironmentSpec.from_json(spec_of(first).to_json())
    second = spec.make()
    trajectories = []
    for env in (first, second):
        np.random.seed(1)  # noqa: NPY002
        env.unwrapped.action_space.seed(1)
        observation, _ = env.reset(seed=1)
        steps = [env.step(np.full(env.action_space.shape, 0.5, np.float32)) for _ in range(3)]
        trajectories.append([observation, *(part for step in steps for part in step[:4])])
        assert env.spec.max_episode_steps == first.spec.max_episode_steps
    if first.action_space == second.action_space:
        for left, right in zip(*trajectories, strict=True):
            np.testing.assert_array_equal(left, right)
    assert second.unwrapped.spec.entry_point == first.unwrapped.spec.entry_point


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "Pendulum-v1"}', "environment spec lacks kwargs"),
        ('{"id": "Pendulum-v1", "kwargs": {}, "more": 1}', "spec has no setting named more"),
        ('["id", "kwargs"]', r"environment spec is \['id', 'kwargs'\]: it must be an object"),
        ('{"id": 3, "kwargs": {}}', "environment spec.id is 3: it must be of type str"),
        ('{"id": "Pendulum-v1", "kwargs": [[1, 2]]}', r"kwargs is \[\[1, 2\]\]: .*of type Mapping"),
        ('{"id": "Pendulum-v1", "kwargs": {"g": NaN}}', "keyword arguments of .*JSON"),
        ("{", "Expecting"),
    ],
)
def test_a_spec_that_is_none_is_refused(text, message):
    """A field that is missing, unknown or of another type is an error that names it."""
    with pytest.raises(ValueError, match=message):
        EnvironmentSpec.from_json(text)


def test_spec_holds_only_what_differs():
    """What the registration says already is not repeated, nor is the way of rendering."""
    env = make_env(MAZE, render_mode="rgb_array")
    assert spec_of(env) == EnvironmentSpec("pointmaze-medium-singletask-task1-v0")
    assert spec_of(MAZE) == spec_of(env)
    assert spec_of(make_env(TOY, length=4)) == EnvironmentSpec(TOY, {"length": 4})


def test_environments_that_cannot_be_rebuilt_are_refused():
    """No spec, the user's own wrappers, and arguments beyond JSON are each named."""
    with pytest.raises(ValueError, match="no gymnasium spec"):
        spec_of(make_env(TOY).unwrapped.__class__())
    wrapped = gymnasium.wrappers.TransformReward(make_env(TOY), lambda reward: 2 * reward)
    with pytest.raises(ValueError, match="wrapped in TransformReward"):
        spec_of(wrapped)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        spec_of(make_env(TOY, length=np.int64(3)))


def test_wrappers_that_belong_to_an_id():
    """Others build them too, and so an environment from which they were taken is refused."""
    for name, wrapper in (("Flat-v0", "FlattenObservation"), ("Unit-v0", "RescaleAction")):
        whole = gymnasium.make(name)
        assert spec_of(whole) == EnvironmentSpec(f"toy_environments:{name}")
        with pytest.raises(ValueError, match=rf"{name}' lacks {wrapper}, .*as gymnasium\.make"):
            spec_of(whole.unwrapped)
    two = np.float32(2)
    more = gymnasium.wrappers.RescaleAction(gymnasium.make("Unit-v0"), -two, two)
    assert spec_of(more).kwargs == {"rescale_actions": [-2.0, 2.0]}


def test_importing_floq_touches_neither_mujoco_nor_jax():
    """The import of floq.envs loads no simulator, no jax, and sets no variable."""
    code = (
        "import os, sys; os.environ.pop('MUJOCO_GL', None); import floq.envs.vector; "
        "print('mujoco' in sys.modules, 'jax' in sys.modules, 'MUJOCO_GL' in os.environ)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False", "False"], result.stderr


def test_an_environment_may_be_a_function():
    """By its name or itself, with arguments, wrappers and a time limit, here and in a worker."""
    named = EnvironmentSpec("toy_environments:make", {"length": 4})
    assert spec_of(toy_environments.make) == EnvironmentSpec("toy_environments:make")
    assert spec_of(named.make()) == named
    with VectorEnvironment(named, count=1, processes=1) as there:
        observation = there.reset(np.zeros(1, int), np.zeros(1, int))
        steps = there.step(np.zeros(1, int), np.zeros((1, 2)))
    with VectorEnvironment(EnvironmentSpec(TOY, {"length": 4}), count=1, processes=0) as here:
        np.testing.assert_array_equal(here.reset(np.zeros(1, int), np.zeros(1, int)), observation)
        plain = here.step(np.zeros(1, int), np.zeros((1, 2)))
    assert steps.rewards == plain.rewards / 2
    assert time_limit(named.make()) == 50
    assert time_limit(make_env("toy_environments:make", max_episode_steps=7)) == 7


def test_functions_that_others_cannot_import_are_refused():
    """A lambda, one in a function, and a name that is none are refused with the way out."""

    def inner():
        return toy_environments.Toy()

    for function in (inner, lambda: toy_environments.Toy()):
        with pytest.raises(ValueError, match=r"cannot be imported by name.*package\.module:make"):
            spec_of(function)
    with pytest.raises(ValueError, match="unknown environment 'toy_environments:nothing'"):
        spec_of("toy_environments:nothing")
    with pytest.raises(ValueError, match=r"must return a gymnasium\.Env"):
        make_env("os:getcwd")


def test_one_environment_for_all_slots_is_refused():
    """Episodes that are played side by side must not share their state."""
    with pytest.raises(WorkerError, match="the same environment twice"):
        VectorEnvironment(EnvironmentSpec("toy_environments:make_the_same"), count=2, processes=0)


def test_an_id_that_is_registered_here_is_found_by_its_module():
    """Other processes import the module of its class, and so find the id."""
    assert spec_of("Toy-v0") == EnvironmentSpec(TOY)


def test_bounds_of_actions_stand_for_minus_one_and_one():
    """A part of the environment's range, each entry with its own."""
    env = make_env(TOY, high=4.0, action_low=[-1.0, 0.0], action_high=[1.0, 4.0])
    env.reset(seed=0)
    for action in (-1.0, 0.5, 1.0):
        env.step(np.full(2, action, np.float32))
    np.testing.assert_allclose(env.unwrapped.actions, [[-1, 0], [0.5, 3], [1, 4]], atol=1e-6)
    assert spec_of(env).kwargs == {
        "high": 4.0,
        "action_low": [-1.0, 0.0],
        "action_high": [1.0, 4.0],
    }
    with pytest.raises(ValueError, match="the lower ones first"):
        make_env(TOY, action_low=1.0, action_high=-1.0)


def test_a_script_that_trains_when_it_is_imported_is_refused(tmp_path, monkeypatch):
    """Its environment is found by importing it, which would start the training again."""
    (tmp_path / "my_script.py").write_text(
        'import floq, gymnasium\nclass Arm(gymnasium.Env): pass\nfloq.Evaluator("my_script:Arm")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"my_script trains or evaluates.*if __name__ =="):
        make_env("my_script:Arm")
