"""Making environments: from a task's name to a gymnasium environment that floq can act in."""

import ctypes.util
import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction

from floq.extras import is_installed, require_extra

# Wrappers that `gymnasium.make` and `make_env` add by themselves: a spec need not name them.
_OWN_WRAPPERS = {"PassiveEnvChecker", "OrderEnforcing", "TimeLimit", "RescaleAction"}
_OGBENCH = (
    *("antmaze", "antsoccer", "cube", "humanoidmaze", "pointmaze"),
    *("powderworld", "puzzle", "scene", "visual"),
)
"""First words of the names of OGBench's environments."""


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """What it takes to build an environment again, in this process or in another one.

    Attributes:
        id: A registered gymnasium id, or `module:id` where importing the module registers it.
        kwargs: JSON-able keyword arguments of `make_env`.
    """

    id: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            json.dumps(dict(self.kwargs), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the keyword arguments of environment {self.id!r} cannot be written as JSON "
                f"({error}): {dict(self.kwargs)!r}. Use numbers, strings, booleans, lists and "
                "dictionaries, or register an environment whose entry point needs no such argument."
            ) from None

    def make(self, *, render_mode: str | None = None) -> gymnasium.Env:
        """The environment, as `make_env` builds it."""
        return make_env(self.id, render_mode=render_mode, **self.kwargs)

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps({"id": self.id, "kwargs": dict(self.kwargs)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "EnvironmentSpec":
        """The spec that `to_json` wrote.

        Raises:
            ValueError: If the text is no JSON, or a field is missing, unknown or of another type.
        """
        fields = json.loads(text)
        kinds = {"id": str, "kwargs": dict}
        if not isinstance(fields, dict) or fields.keys() != kinds.keys():
            raise ValueError(
                f"an environment spec is {text[:200]}: it must be an object with the fields id and "
                "kwargs, and no others."
            )
        for name, kind in kinds.items():
            if not isinstance(fields[name], kind):
                raise ValueError(
                    f"{name} of an environment spec is {fields[name]!r}: it must be "
                    f"{'a string' if kind is str else 'an object'}."
                )
        return cls(**fields)


def environment_id(task_name: str) -> str:
    """The gymnasium id of a task: the name without the word of its dataset's type.

    `cube-double-play-singletask-task2-v0` is played in `cube-double-singletask-task2-v0`. Names
    without `singletask`, and ids that name no dataset, are returned as they are.
    """
    words = task_name.split("-")
    if "singletask" in words:
        position = words.index("singletask")
        if words[position - 1] in ("navigate", "stitch", "explore", "play", "noisy"):
            del words[position - 1]
    return "-".join(words)


def make_env(
    task_name: str,
    *,
    success_timing: str = "pre",
    render_mode: str | None = None,
    **kwargs: Any,
) -> gymnasium.Env:
    """An environment with flat float observations and continuous actions in [-1, 1].

    Args:
        task_name: A task (`cube-double-play-singletask-v0`), the id of any gymnasium environment
            (`Pendulum-v1`), or `module:id` where importing the module registers the id.
        success_timing: Whether an OGBench singletask gives reward and termination by the state
            before a step ("pre", as its datasets are labelled) or after it ("post", as OGBench did
            before 1.2). Other environments have no such choice.
        render_mode: gymnasium's, for instance "rgb_array".
        **kwargs: Passed to `gymnasium.make`.

    Returns:
        The environment. Actions are rescaled where its own bounds differ from [-1, 1].

    Raises:
        ValueError: If the id is unknown, the spaces are not the ones above, or `success_timing`
            asks for what the environment does not offer.
        MissingExtraError: If it is one of OGBench's, which is not installed.
    """
    registered = _registered(task_name)
    if "success_timing" in registered.kwargs:
        if success_timing not in ("pre", "post"):
            raise ValueError(f"success_timing is {success_timing!r}: it must be 'pre' or 'post'.")
        kwargs["success_timing"] = success_timing
    elif success_timing != "pre":
        raise ValueError(
            f"environment {task_name!r} has no success_timing (here {success_timing!r}): only "
            "OGBench's singletask environments, from ogbench 1.2 on, take it. Leave it out."
        )
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    # The checker costs time in every step and warns about OGBench's own observations.
    env = gymnasium.make(environment_id(task_name), disable_env_checker=True, **kwargs)
    try:
        return _with_unit_actions(env, task_name)
    except ValueError:
        env.close()
        raise


def spec_of(environment: "gymnasium.Env | EnvironmentSpec | str") -> EnvironmentSpec:
    """What it takes to build the given environment again.

    Args:
        environment: An environment from `make_env` or `gymnasium.make`, a spec, or a task's name.

    Raises:
        ValueError: If the name is unknown, or another process could not rebuild the environment:
            it has no gymnasium spec, carries wrappers of the user's, is defined in the script that
            runs, or has arguments that JSON cannot hold.
    """
    if isinstance(environment, EnvironmentSpec):
        return environment
    if isinstance(environment, str):
        _registered(environment)
        return EnvironmentSpec(environment_id(environment))
    spec = environment.spec
    way_out = "Register an entry point that returns the whole environment, and pass its id."
    if spec is None:
        raise ValueError(f"{environment} has no gymnasium spec to rebuild it from. {way_out}")
    wrappers = [w.name for w in spec.additional_wrappers if w.name not in _OWN_WRAPPERS]
    if wrappers:
        raise ValueError(
            f"environment {spec.id!r} is wrapped in {', '.join(wrappers)}, which floq does not "
            f"carry into its worker processes. {way_out}"
        )
    entry_point = spec.entry_point
    module = entry_point if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
    module = module.split(":")[0]
    if module == "__main__":
        raise ValueError(
            f"environment {spec.id!r} is defined in the script that runs, which a worker process "
            "cannot import. Move it to a module and pass 'module:id'."
        )
    known = gymnasium.spec(spec.id)
    defaults: dict[str, Any] = known.kwargs
    kwargs = {
        name: value
        for name, value in spec.kwargs.items()
        if name != "render_mode"
        and not (name in defaults and np.array_equal(value, defaults[name]))
    }
    if spec.max_episode_steps != known.max_episode_steps:
        kwargs["max_episode_steps"] = spec.max_episode_steps
    standard = module.split(".")[0] in ("gymnasium", "ogbench")
    return EnvironmentSpec(spec.id if standard else f"{module}:{spec.id}", kwargs)


def _registered(task_name: str) -> Any:
    """Gymnasium's entry for the task, after the import that registers it."""
    _choose_renderer()
    name = environment_id(task_name)
    try:
        if ":" in name:
            module, name = name.split(":")
            __import__(module)
        elif name not in gymnasium.registry:
            _register_ogbench(name)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        close = difflib.get_close_matches(name, list(gymnasium.registry), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"unknown environment {task_name!r} ({error}).{hint} An environment of your own is "
            "found as 'module:id', where importing the module registers the id."
        ) from None


def _register_ogbench(name: str) -> None:
    """Registers OGBench's environments, if they are here; refuses one of them if not."""
    if name.split("-")[0] in _OGBENCH:
        require_extra("ogbench")
    if is_installed("ogbench"):
        import ogbench  # noqa: F401  (registers its environments)


def _choose_renderer() -> None:
    """Have MuJoCo render without a display where there is none.

    MuJoCo reads MUJOCO_GL once, when it is imported, and its import fails where EGL is asked for
    and missing.
    """
    if needs_renderer() and "mujoco" not in sys.modules and ctypes.util.find_library("EGL"):
        os.environ["MUJOCO_GL"] = "egl"


def needs_renderer() -> bool:
    """Whether MuJoCo would look for a display that is not there, and abort the process."""
    displays = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "linux" and not any(name in os.environ for name in displays)


def _with_unit_actions(env: gymnasium.Env, task_name: str) -> gymnasium.Env:
    """The environment with actions in [-1, 1], after checking its spaces."""
    observations, actions = env.observation_space, env.action_space
    if not (
        isinstance(observations, Box)
        and len(observations.shape) == 1
        and np.issubdtype(observations.dtype, np.floating)
    ):
        raise ValueError(
            f"environment {task_name!r} observes {observations}: floq needs a flat Box of floats. "
            "Register an environment wrapped to show one (a Dict: by FlattenObservation)."
        )
    if not (
        isinstance(actions, Box)
        and len(actions.shape) == 1
        and np.issubdtype(actions.dtype, np.floating)
    ):
        raise ValueError(
            f"environment {task_name!r} has the action space {actions}: floq needs continuous "
            "actions, a flat Box of floats. Register an environment wrapped to take such actions."
        )
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise ValueError(
            f"environment {task_name!r} has unbounded actions, {actions}: there is no scale for a "
            "policy in [-1, 1]. Register an environment whose action space has finite bounds."
        )
    if (actions.low == -1).all() and (actions.high == 1).all():
        return env
    return RescaleAction(env, np.float32(-1), np.float32(1))
