"""Making environments: from a task's name to a gymnasium environment that floq can act in."""

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction, TimeLimit, TransformReward

from floq.envs.actions import (
    as_json,
    bounds_like,
    check_spaces,
    is_unit,
    with_unit_actions,
)
from floq.envs.goals import GoalObservations
from floq.envs.names import (
    WAY_OUT,
    environment_id,
    found,
    name_of_function,
    portable,
    refuse_while_importing,
)
from floq.envs.success import SuccessReward
from floq.settings import from_json, normalise, to_json

MAX_EPISODE_STEPS = 10_000
"""Steps after which an episode ends where the environment has no time limit of its own."""

# Wrappers that `gymnasium.make` adds by itself, or that a spec's arguments name.
_OWN_WRAPPERS = {"PassiveEnvChecker", "OrderEnforcing", "TimeLimit", "Narrowed"}
_ACTION_BOUNDS = ("action_low", "action_high")
SCALING = ("rescale_actions", *_ACTION_BOUNDS)
"""Arguments that say what -1 and 1 stand for, where these are not the environment's own bounds."""


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """What it takes to build an environment again, in this process or in another one.

    Attributes:
        id: A registered gymnasium id, `module:id` where importing the module registers it, or
            `package.module:make`, a function there that returns the environment.
        kwargs: JSON-able keyword arguments of `make_env`.
    """

    id: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        normalise(self)
        try:
            # As files and workers get them, so that the environment is the same everywhere.
            kwargs = json.loads(json.dumps(dict(self.kwargs), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the keyword arguments of environment {self.id!r} cannot be written as JSON "
                f"({error}): {dict(self.kwargs)!r}. Use numbers, strings, booleans, lists and "
                "dictionaries, or give a function ('module:make') that needs no such argument."
            ) from None
        object.__setattr__(self, "kwargs", kwargs)

    def make(self, *, render_mode: str | None = None) -> gymnasium.Env:
        """The environment, as `make_env` builds it."""
        return make_env(self.id, render_mode=render_mode, **self.kwargs)

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(to_json(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "EnvironmentSpec":
        """The spec that `to_json` wrote.

        Raises:
            ValueError: If the text is no JSON, or a field is missing, unknown or of another type.
        """
        return from_json(cls, json.loads(text), name="environment spec")


def make_env(
    name: str,
    *,
    success_timing: str = "pre",
    render_mode: str | None = None,
    action_low: Sequence[float] | float | None = None,
    action_high: Sequence[float] | float | None = None,
    rescale_actions: Sequence[Any] | None = None,
    goals: Sequence[int] | None = None,
    success_reward: bool = False,
    **kwargs: Any,
) -> gymnasium.Env:
    """An environment with flat float observations and continuous actions in [-1, 1].

    Args:
        name: A task (`cube-double-play-singletask-v0`), the id of any gymnasium environment
            (`Pendulum-v1`), `module:id` where importing the module registers the id, or
            `package.module:make`, a function or class there that gives a `gymnasium.Env`.
        success_timing: Whether an OGBench singletask gives reward and termination by the state
            before a step ("pre", as its datasets are labelled) or after it ("post", as OGBench did
            before 1.2). Other environments have no such choice.
        render_mode: gymnasium's, for instance "rgb_array"; a function gets it if it takes it.
        action_low: What -1 stands for, in the environment's own units: a number, or one for each
            entry. The lower bound of its action space by default.
        action_high: What 1 stands for.
        rescale_actions: Two bounds, each a number or one for each entry: the environment is then
            `gymnasium.wrappers.RescaleAction(env, *rescale_actions)`, and its own units are those.
        goals: Shows the goal of each episode behind the observations, as
            `floq.envs.goals.GoalObservations` does: the entries of an observation that are the
            goal, none for all of them.
        success_reward: Rewards by 1 the step whose info reports success (`success` or
            `is_success`, which each must have) and by 0 any other, and ends the episode there.
        **kwargs: Passed to `gymnasium.make`, or to the function; `max_episode_steps`, which a
            function need not take, is the time limit. An OGBench singletask also takes `reward`:
            "sparse" for -1 until it is solved and 0 then, in place of its own, "dense".

    Returns:
        The environment. Without a time limit of its own, it ends an episode after
        `MAX_EPISODE_STEPS` steps; with a `max_episode_steps` of -1 it does not.

    Raises:
        ValueError: If the id is unknown, the spaces are not the ones above, bounds do not fit, or
            `success_timing` asks for what the environment does not offer.
    """
    if success_timing != "pre":
        kwargs["success_timing"] = success_timing
    if rescale_actions is not None:
        kwargs["rescale_actions"] = rescale_actions
    if goals is not None:
        kwargs["goals"] = list(goals)
    if success_reward:
        kwargs["success_reward"] = True
    built = build(name, kwargs, render_mode=render_mode)
    bounds = {"action_low": action_low, "action_high": action_high}
    built.arguments |= {name: bound for name, bound in bounds.items() if bound is not None}
    try:
        return with_unit_actions(built, name, action_low, action_high)
    except ValueError:
        built.close()
        raise


class BuiltEnvironment(gymnasium.Wrapper):
    """An environment in its own units, with what it takes to build it again.

    Attributes:
        name: What `make_env` was called with.
        arguments: The keyword arguments, of which JSON may not hold all.
        unscaled: The action space below `rescale_actions`; None without.
        has_limit: Whether it has a time limit of its own, or was given one.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        name: str,
        arguments: Mapping[str, Any],
        *,
        unscaled: Box | None,
        has_limit: bool,
    ):
        """Wraps the environment, and changes nothing of it."""
        super().__init__(env)
        self.name, self.arguments = name, dict(arguments)
        self.unscaled, self.has_limit = unscaled, has_limit


def build(
    name: str, arguments: Mapping[str, Any], *, render_mode: str | None = None
) -> BuiltEnvironment:
    """The environment of `make_env` in its own units: before -1 and 1 are given a meaning.

    Raises:
        ValueError: As `make_env`.
    """
    kwargs = {key: value for key, value in arguments.items() if key not in _ACTION_BOUNDS}
    rescale, goals = kwargs.pop("rescale_actions", None), kwargs.pop("goals", None)
    is_by_success = kwargs.pop("success_reward", False)
    entry = found(name)
    make = _from_function if callable(entry) else _from_gymnasium
    env = make(entry, name, render_mode=render_mode, **kwargs)
    try:
        if goals is not None:
            env = GoalObservations(env, name, goals)
        if is_by_success:
            env = SuccessReward(env, name)
        check_spaces(env, name)
        has_limit = "max_episode_steps" in kwargs or time_limit(env) is not None
        if not has_limit:
            env = TimeLimit(env, MAX_EPISODE_STEPS)
        unscaled = None
        if rescale is not None:
            unscaled = env.action_space
            assert isinstance(unscaled, Box)
            low, high = bounds_like(unscaled, rescale, f"rescale_actions of {name!r}")
            env = RescaleAction(env, low, high)
        return BuiltEnvironment(env, name, arguments, unscaled=unscaled, has_limit=has_limit)
    except ValueError:
        env.close()
        raise


def _from_gymnasium(entry: Any, name: str, *, render_mode: str | None, **kwargs: Any) -> Any:
    timing, reward = kwargs.pop("success_timing", "pre"), "dense"
    if "success_timing" in entry.kwargs:
        reward = kwargs.pop("reward", "dense")
        if reward not in ("dense", "sparse"):
            raise ValueError(f"reward is {reward!r}: it must be 'dense' or 'sparse'.")
        if timing not in ("pre", "post"):
            raise ValueError(f"success_timing is {timing!r}: it must be 'pre' or 'post'.")
        kwargs["success_timing"] = timing
    elif timing != "pre":
        raise ValueError(
            f"environment {name!r} has no success_timing (here {timing!r}): only OGBench's "
            "singletask environments, from ogbench 1.2 on, take it. Leave it out."
        )
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    # The checker costs time in every step and warns about OGBench's own observations.
    make = functools.partial(gymnasium.make, environment_id(name), disable_env_checker=True)
    env = _made(make, name, kwargs)
    return TransformReward(env, sparse_reward) if reward == "sparse" else env


def sparse_reward(rewards: Any) -> Any:
    """−1 where the reward of an OGBench task is not 0, which it is once the task is solved."""
    return np.where(np.asarray(rewards) != 0, np.float32(-1), np.float32(0))[()]


def _from_function(
    function: Callable[..., Any],
    name: str,
    *,
    render_mode: str | None,
    max_episode_steps: int = -1,
    **kwargs: Any,
) -> gymnasium.Env:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # Not everything that is written in C tells.
        parameters = ()
    if render_mode is not None and any(
        one.name == "render_mode" or one.kind is one.VAR_KEYWORD for one in parameters
    ):
        kwargs["render_mode"] = render_mode
    env = _made(function, name, kwargs)
    if not isinstance(env, gymnasium.Env):
        raise ValueError(
            f"{name!r} gave {env!r}: the function of an environment must return a gymnasium.Env."
        )
    return env if max_episode_steps == -1 else TimeLimit(env, max_episode_steps)


def _made(make: Callable[..., Any], name: str, kwargs: Mapping[str, Any]) -> Any:
    """What `make` gives; whatever goes wrong in it names the environment."""
    try:
        return make(**kwargs)
    except (Exception, SystemExit) as error:
        given = f" with {dict(kwargs)}" if kwargs else ""
        raise ValueError(
            f"environment {name!r} could not be built{given}: {type(error).__name__}: {error}"
        ) from error


def time_limit(env: gymnasium.Env) -> int | None:
    """Steps after which the environment's wrappers end an episode; None where none does."""
    limits = [w._max_episode_steps for w in wrappers_of(env) if isinstance(w, TimeLimit)]
    return min(limits, default=None)


def wrappers_of(env: gymnasium.Env) -> list[gymnasium.Wrapper]:
    """All wrappers of an environment, the outermost first."""
    wrappers = []
    while isinstance(env, gymnasium.Wrapper):
        wrappers.append(env)
        env = env.env
    return wrappers


Environment = gymnasium.Env | EnvironmentSpec | str | Callable[..., gymnasium.Env]
"""An environment, as users may give it; see `spec_of`."""


def spec_of(environment: Environment) -> EnvironmentSpec:
    """What it takes to build the given environment again.

    Args:
        environment: An environment from `make_env` or `gymnasium.make`, a spec, a name that
            `make_env` takes, or a function that returns the environment.

    Raises:
        ValueError: If the name is unknown, or another process could not rebuild the environment:
            it has no gymnasium spec, carries wrappers of the user's, is defined in the script that
            runs, or has arguments that JSON cannot hold.
        RuntimeError: While the module of an environment is imported, which every worker does.
    """
    refuse_while_importing()
    if isinstance(environment, EnvironmentSpec):
        return environment
    if isinstance(environment, str):
        return EnvironmentSpec(portable(environment))
    if not isinstance(environment, gymnasium.Env):
        return EnvironmentSpec(name_of_function(environment))
    wrappers = wrappers_of(environment)
    built = next((w for w in wrappers if isinstance(w, BuiltEnvironment)), None)
    # The wrappers that floq did not put there itself.
    above = wrappers if built is None else wrappers[: wrappers.index(built)]
    rescaling = next((w for w in above if not isinstance(w, TimeLimit)), None)
    if built is None:
        spec, known = _spec_by_gymnasium(environment)
    else:
        spec, known = EnvironmentSpec(portable(built.name), _worth_saying(built)), []
        if (limit := time_limit(environment)) != time_limit(built):
            spec = with_arguments(spec, max_episode_steps=limit)
    others = [type(w).__name__ for w in above]
    for name in known:
        if name not in others:
            raise ValueError(
                f"environment {spec.id!r} lacks {name}, a wrapper that belongs to its id: give the "
                f"whole of it, as gymnasium.make gives it. {WAY_OUT}"
            )
        others.remove(name)
    if isinstance(rescaling, RescaleAction) and "RescaleAction" in others:
        others.remove("RescaleAction")
    else:
        rescaling = None  # One that belongs to the id is built again with it.
    unknown = [name for name in others if name not in _OWN_WRAPPERS]
    if unknown:
        raise ValueError(
            f"environment {spec.id!r} is wrapped in {', '.join(unknown)}, which floq does not "
            f"carry into its worker processes. {WAY_OUT}"
        )
    return spec if rescaling is None else _with_rescaling(spec, rescaling)


def with_arguments(spec: EnvironmentSpec, **kwargs: Any) -> EnvironmentSpec:
    """The spec with other keyword arguments beside those that it has."""
    return dataclasses.replace(spec, kwargs={**spec.kwargs, **kwargs})


def _spec_by_gymnasium(environment: gymnasium.Env) -> tuple[EnvironmentSpec, list[str]]:
    """The spec of an environment from `gymnasium.make`, and the wrappers that belong to its id."""
    spec = environment.spec
    if spec is None:
        raise ValueError(f"{environment} has no gymnasium spec to rebuild it from. {WAY_OUT}")
    known = gymnasium.spec(spec.id)
    kwargs = {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
    kwargs = _without_defaults(kwargs, known.kwargs)
    if spec.max_episode_steps != known.max_episode_steps:
        kwargs["max_episode_steps"] = spec.max_episode_steps
    names = [wrapper.name for wrapper in known.additional_wrappers]
    return EnvironmentSpec(portable(spec.id), kwargs), names


def _worth_saying(built: BuiltEnvironment) -> dict[str, Any]:
    """The arguments that differ from those that the environment was registered with."""
    entry, arguments = found(built.name), built.arguments
    if callable(entry):
        return arguments
    return _without_defaults(
        arguments, {**entry.kwargs, "max_episode_steps": entry.max_episode_steps}
    )


def _without_defaults(kwargs: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in kwargs.items()
        if not (name in defaults and np.array_equal(value, defaults[name]))
    }


def _with_rescaling(spec: EnvironmentSpec, rescaling: RescaleAction) -> EnvironmentSpec:
    """The spec of an environment whose actions somebody has rescaled, which may be `make_env`."""
    space, below = rescaling.action_space, rescaling.env.action_space
    assert isinstance(space, Box)
    assert isinstance(below, Box)
    if not spec.kwargs.keys() & {*SCALING}:
        bounds = [as_json(space.low), as_json(space.high)]
        return with_arguments(spec, rescale_actions=bounds)
    if not is_unit(space):
        raise ValueError(
            f"environment {spec.id!r} is wrapped in RescaleAction more than once, which floq does "
            f"not carry into its worker processes. {WAY_OUT}"
        )
    # What -1 and 1 stand for, in the units below.
    return with_arguments(spec, action_low=as_json(below.low), action_high=as_json(below.high))
