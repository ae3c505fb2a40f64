"""What is tried of an environment before training, and how its actions are related to data."""

import contextlib
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RescaleAction, TimeLimit
from toy_environments import Toy

from floq.envs import EnvironmentSpec, make_env, spec_of
from floq.envs.make import MAX_EPISODE_STEPS, time_limit
from floq.envs.preflight import meaning, preflight
from floq.observations import ObservationForm, Part

TOY = "toy_environments:Toy-v0"
PENDULUM = "Pendulum-v1"
TWO = {"action_low": -2.0, "action_high": 2.0}
UNIT = {"rescale_actions": [-1.0, 1.0]}


def tried(spec, *, bounds=None, is_related=False, **settings):
    if isinstance(spec, str):
        spec = EnvironmentSpec(spec)
    settings = {"in_worker": False, **settings}
    return preflight(spec, bounds=bounds, is_related=is_related, **settings)


@pytest.mark.parametrize("in_worker", [False, True])
def test_a_sound_environment_passes_without_a_word(in_worker):
    """Its sizes come back, and its spec as it was."""
    spec = EnvironmentSpec(TOY, {"length": 5})
    found = tried(spec, in_worker=in_worker)
    assert found == (spec, 4, 2, ((-1.0, -1.0), (1.0, 1.0)), 0, None)


@pytest.mark.parametrize(
    ("spec", "bounds", "kwargs"),
    [
        # The data says so, in the environment's units or above a rescaling.
        (PENDULUM, ((-2.0,), (2.0,)), TWO),
        (PENDULUM, ((-1.0,), (0.5,)), {"action_low": -1.0, "action_high": 0.5}),
        (EnvironmentSpec(PENDULUM, UNIT), ((-2.0,), (2.0,)), UNIT),
        (EnvironmentSpec(PENDULUM, TWO), ((-2.0,), (2.0,)), TWO),
        (TOY, ((-1.0, -1.0), (1.0, 1.0)), {}),
        (
            TOY,
            ((-1.0, -0.5), (1.0, 0.5)),
            {"action_low": [-1.0, -0.5], "action_high": [1.0, 0.5]},
        ),
        (
            EnvironmentSpec(TOY, {"high": float("1e30")}),
            ((-4.0, -4.0), (4.0, 4.0)),
            {"action_low": -4.0, "action_high": 4.0},
        ),
        # Or the environment does.
        (EnvironmentSpec(PENDULUM, UNIT), None, UNIT),
        (EnvironmentSpec(PENDULUM, TWO), None, TWO),
        (TOY, None, {}),
    ],
)
def test_actions_are_related_to_the_datas(spec, bounds, kwargs):
    """What -1 and 1 stand for is in the spec, wherever it was said."""
    found = tried(spec, bounds=bounds).spec.kwargs
    assert {name: found[name] for name in found if name != "high"} == kwargs


def test_bounds_that_fit_by_rounding_are_the_environments():
    """A last digit more than the bound is no contradiction, and nothing beyond is ever done."""
    beyond = float(np.nextafter(np.float32(2), np.float32(3)))
    spec = tried(PENDULUM, bounds=((-beyond,), (beyond,))).spec
    env = spec.make()
    env.reset(seed=0)
    env.step(np.ones(1, np.float32))
    assert env.unwrapped.last_u == 2.0


@pytest.mark.parametrize(
    ("spec", "bounds", "message"),
    [
        (PENDULUM, None, r"-2 to 2.*action_low=-2, action_high=2.*RescaleAction\(env, -1, 1\)"),
        (PENDULUM, ((-3.0,), (3.0,)), "takes actions from -2 to 2: give bounds within"),
        (EnvironmentSpec(PENDULUM, TWO), ((-1.0,), (1.0,)), "-1 and 1 in the data, and for -2"),
        (EnvironmentSpec(PENDULUM, {"rescale_actions": [0.0, 1.0]}), None, "from 0 to 1"),
        ("toy_environments:Unbounded-v0", None, "unbounded.*action_low= and action_high="),
        (PENDULUM, ((-2.0, -2.0), (2.0, 2.0)), "each a number or 1 of them"),
    ],
)
def test_actions_that_nobody_related_or_that_contradict_are_refused(spec, bounds, message):
    """Never are bounds laid over actions of another scale."""
    with pytest.raises(ValueError, match=message):
        tried(spec, bounds=bounds)


def test_the_units_of_a_rescaled_environment_are_doubtful_and_said():
    """Bounds of [-1, 1] may be above or below the rescaling: they are taken as above."""
    spec = EnvironmentSpec(PENDULUM, UNIT)
    with pytest.warns(UserWarning, match="taken as rescaled actions"):
        assert tried(spec, bounds=((-1.0,), (1.0,))).spec == spec


def test_without_data_the_bounds_are_the_environments_and_are_written_down():
    """So that a later change of the environment shows."""
    assert tried(PENDULUM, is_related=True).spec.kwargs == TWO
    assert meaning(EnvironmentSpec(PENDULUM)) == ((-2.0,), (2.0,))
    half = EnvironmentSpec(
        PENDULUM, {"rescale_actions": [0.0, 1.0], "action_low": 0.5, "action_high": 1.0}
    )
    assert meaning(half) == ((0.0,), (2.0,))


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: TimeLimit(env, 20)])
@pytest.mark.parametrize("bounds", [np.float32([-1, 1]), np.float32([0, 1])])
def test_a_rescaling_of_the_users_is_carried(wrap, bounds):
    """The spec's environment has the same bounds, and does the same by the same action."""
    env = wrap(RescaleAction(gymnasium.make(PENDULUM), *bounds))
    again = spec_of(env).make()
    for one, action in ((env, np.mean(bounds) + 0.5 * (bounds[1] - np.mean(bounds))), (again, 0.5)):
        one.reset(seed=0)
        one.step(np.array([action], np.float32))
    assert again.unwrapped.last_u == env.unwrapped.last_u == 1.0
    assert time_limit(again) == time_limit(env)
    assert spec_of(again).kwargs["rescale_actions"] == list(bounds)


def test_a_rescaling_that_cannot_be_carried_is_refused():
    """One below another wrapper, and one on top of floq's."""
    env = RescaleAction(gymnasium.make(PENDULUM), np.float32(0), np.float32(1))
    with pytest.raises(ValueError, match=r"wrapped in TransformReward, RescaleAction.*module:make"):
        spec_of(gymnasium.wrappers.TransformReward(env, abs))
    with pytest.raises(ValueError, match="RescaleAction more than once"):
        spec_of(RescaleAction(make_env(PENDULUM, **UNIT), np.float32(0), np.float32(1)))


def test_a_missing_time_limit_is_set_and_said():
    """The spec has it, an environment made from the name has it too, and -1 is none."""
    with pytest.warns(UserWarning, match=r"no time limit.*10,000 steps.*max_episode_steps="):
        spec = tried("toy_environments:Endless-v0").spec
    assert spec.kwargs == {"max_episode_steps": MAX_EPISODE_STEPS}
    assert time_limit(make_env("toy_environments:Endless-v0")) == MAX_EPISODE_STEPS
    assert time_limit(make_env("toy_environments:Endless-v0", max_episode_steps=-1)) is None
    assert tried(spec).spec == spec


class Odd(Toy):
    """Does one thing as it should not."""

    observation_space = gymnasium.spaces.Box(-9, 9, (4,), np.float32)
    draws = np.random.default_rng(0)

    def __init__(self, odd, **settings):
        super().__init__(length=9, **settings)
        self.odd = odd

    def reset(self, **settings):
        observation, info = super().reset(**settings)
        if self.odd == "unseeded":
            observation[3] = self.draws.uniform()
        if self.odd == "outside":
            observation[1] = 10
        if self.odd == "raises":
            raise ArithmeticError("no power")
        return (observation, None) if self.odd == "info" else (observation, info)

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        info = {"is_success": "yes"} if self.odd == "success" else info
        reward = np.ones(1) if self.odd == "reward" else reward
        truncated = "no" if self.odd == "end" else truncated
        return observation, reward, terminated, truncated, info


gymnasium.register("Odd-v0", Odd, max_episode_steps=50)


@pytest.mark.parametrize(
    ("odd", "message"),
    [("unseeded", "does not repeat itself.*np_random"), ("outside", "1 of 4 entries.*number 1")],
)
def test_what_may_be_a_mistake_is_said(odd, message):
    """The environment is served."""
    with pytest.warns(UserWarning, match=message):
        tried(EnvironmentSpec("Odd-v0", {"odd": odd}))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ("raises", "'Odd-v0' failed when it was reset, before.*ArithmeticError: no power"),
        ("info", r"\(ndarray, NoneType\).*\(observation, info\)"),
        ("success", r"info\['is_success'\] 'yes'"),
        ("reward", "reward array.*one finite number"),
        ("end", "terminated or truncated 'no'"),
    ],
)
def test_what_is_wrong_is_refused(odd, message):
    """By the environment's name, what it gave, and what is due."""
    with pytest.raises(ValueError, match=message):
        tried(EnvironmentSpec("Odd-v0", {"odd": odd}))


def test_an_environment_of_this_process_alone_is_refused():
    """In a worker process its name means nothing."""
    gymnasium.register("Here-v0", lambda: Toy(length=3), max_episode_steps=9)
    spec = EnvironmentSpec("Here-v0")
    assert tried(spec).observation_dim == 4
    with pytest.raises(ValueError, match=r"worker process.*module:Id-v0.*package\.module:make"):
        tried(spec, in_worker=True)
    with contextlib.closing(Toy()) as toy, pytest.raises(ValueError, match="module:make"):
        spec_of(toy)


def test_it_tries_the_environment_as_evaluations_do():
    """An environment that draws from numpy's global generator repeats, and leaves that alone."""
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tried(TOY)
    assert np.random.uniform() == expected  # noqa: NPY002


def test_images_whose_channels_come_first_are_told():
    """By a warning where there is no data, else by the refusal; turned data has the other axes."""
    first = "toy_environments:ChannelsFirst-v0"
    with pytest.warns(UserWarning, match="the height 3 and 20 channels, as if channels came first"):
        found = tried(first, is_related=True)
    turned = ObservationForm((Part("", (16, 20, 3)),))
    with pytest.raises(ValueError, match=r"collected in\. Only the axes differ: both must have"):
        tried(first, sizes=(turned, 1))
    other = ObservationForm((Part("", (16, 16, 3)),))
    with pytest.raises(ValueError, match=r"collected in\.$"):
        tried(first, sizes=(other, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tried(first, sizes=(found.form, 1)).form == found.form
