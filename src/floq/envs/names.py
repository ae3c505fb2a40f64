"""What an environment is called, and what is found under that name, here and in other processes."""

import ctypes.util
import difflib
import importlib
import operator
import os
import sys
from collections.abc import Callable
from typing import Any

import gymnasium

from floq.extras import is_installed, require_extra
from floq.settings import given

_OGBENCH = (
    *("antmaze", "antsoccer", "cube", "humanoidmaze", "pointmaze"),
    *("powderworld", "puzzle", "scene", "visual"),
)
"""First words of the names of OGBench's environments."""
WAY_OUT = (
    "Give one that other processes can import: 'module:Id-v0' where importing the module "
    "registers the id, or 'package.module:make', a function there that returns the whole "
    "environment, wrapped as you like."
)


def environment_id(task_name: str) -> str:
    """The gymnasium id of a task: the name without the word of its dataset's type.

    `cube-double-play-singletask-task2-v0` is played in `cube-double-singletask-task2-v0`, and
    `cube-double-play-v0`, whose task is to reach goals, in `cube-double-v0`. Ids that name no
    dataset are returned as they are.

    Raises:
        ValueError: If it is no text.
    """
    words = given(str, task_name, name="the name of the environment").split("-")
    if "singletask" in words or words[0] in _OGBENCH:
        position = words.index("singletask") if "singletask" in words else len(words) - 1
        if words[position - 1] in ("navigate", "stitch", "explore", "play", "noisy"):
            del words[position - 1]
    return "-".join(words)


def found(name: str) -> Any:
    """Gymnasium's entry of a name, or the function that it names, after the imports that it takes.

    Raises:
        ValueError: If there is none.
        MissingExtraError: If it is one of OGBench's, which is not installed.
    """
    _choose_renderer()
    module_name, _, rest = environment_id(name).rpartition(":")
    if module_name:
        module = _imported(module_name, name)
        try:
            held = operator.attrgetter(rest)(module)
        except AttributeError:
            held = None
        if rest not in gymnasium.registry and callable(held):
            return held
    elif rest not in gymnasium.registry:
        _register_ogbench(rest)
    try:
        return gymnasium.spec(rest)
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(rest, list(gymnasium.registry), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"unknown environment {name!r} ({error}).{hint} An environment of your own is found as "
            "'module:id', where importing the module registers the id, or as 'module:make', a "
            "function in it."
        ) from None


def _register_ogbench(name: str) -> None:
    """Registers OGBench's environments, if they are here; refuses one of them if not."""
    if name.split("-")[0] in _OGBENCH:
        require_extra("ogbench")
    if is_installed("ogbench"):
        import ogbench  # noqa: F401  (registers its environments)


_importing: list[str] = []


def refuse_while_importing() -> None:
    """Refuses to train or evaluate in the course of the import of an environment's module.

    Each worker process imports it, too, so that its script would start itself again and again.

    Raises:
        RuntimeError: If such an import is under way.
    """
    if _importing:
        raise RuntimeError(
            f"{_importing[-1]} trains or evaluates by floq when it is imported, and it is imported "
            'for the environment that it defines. Put that under `if __name__ == "__main__":`, so '
            "that it happens only where the file is run"
        )


def _imported(module: str, name: str) -> Any:
    _importing.append(module)
    try:
        return importlib.import_module(module)
    except Exception as error:  # What the module itself does may fail in any way.
        raise ValueError(
            f"unknown environment {name!r}: importing {module} failed "
            f"({type(error).__name__}: {error}). {WAY_OUT}"
        ) from error
    finally:
        _importing.pop()


def portable(name: str) -> str:
    """The name under which other processes find what this one finds under `name`.

    Raises:
        ValueError: If there is none.
    """
    name, entry = environment_id(name), found(name)
    if ":" in name:
        module = name.split(":")[0]
    else:
        point = entry.entry_point
        module = point.split(":")[0] if isinstance(point, str) else point.__module__
        if module.split(".")[0] not in ("gymnasium", "ogbench"):
            name = f"{module}:{name}"
    if module == "__main__":
        raise ValueError(
            f"environment {name!r} is defined in the script that runs, which a worker process "
            f"cannot import. {WAY_OUT}"
        )
    found(name)
    return name


def name_of_function(function: Callable[..., Any]) -> str:
    """The name under which other processes find a function or a class.

    Raises:
        TypeError: If it is neither.
        ValueError: If they cannot.
    """
    if not callable(function):
        raise TypeError(
            f"env is of type {type(function).__name__}: give an environment, its name, or a "
            "function that returns it."
        )
    module, path = (getattr(function, part, "") for part in ("__module__", "__qualname__"))
    name = f"{module}:{path}"
    try:
        if module != "__main__" and operator.attrgetter(path)(sys.modules[module]) is function:
            return name
    except (AttributeError, KeyError):
        pass
    raise ValueError(
        f"the environment's function {name!r} cannot be imported by name: it is defined in the "
        f"script that runs, or in another function. {WAY_OUT}"
    )


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
