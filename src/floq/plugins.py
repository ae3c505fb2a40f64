"""Modules of the user's that make algorithms and critics known, imported when they are named."""

import importlib
from pathlib import PurePath

from floq.shell import quoted

_imported: list[str] = []


def import_plugins(names: list[str]) -> None:
    """Imports modules by name, in whose import algorithms and critics are registered.

    Raises:
        ValueError: If one cannot be imported.
    """
    for name in names:
        if name.endswith(".py") or "/" in name:
            raise ValueError(
                f"plugin {name!r} is a path, where the name of a module is needed: {_named(name)}."
            )
        try:
            importlib.import_module(name)
        except Exception as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if name.startswith(".") or (missing and f"{name}.".startswith(f"{missing}.")):
                way_out = (
                    "give the name of a module that is installed or lies where you work, as in "
                    "my_package.mine."
                )
            else:
                shown = quoted("python", "-c", f"import {name}")
                way_out = f"it is there, and `{shown}` shows what fails in it."
            raise ValueError(
                f"plugin {name!r} cannot be imported ({type(error).__name__}: {error}): {way_out}"
            ) from error
        if name not in _imported:
            _imported.append(name)


def _named(path: str) -> str:
    """How to give the module at a path, which is found from where one works."""
    above, parts = {"/", "..", "~"}, PurePath(path.removesuffix(".py")).parts
    inner = [part for part in parts if part not in {*above, "__init__"}] or ["mine"]
    if above & {*parts}:
        return f"go to the folder that holds it and give --plugin {inner[-1]}"
    return f"give --plugin {'.'.join(inner)}"


def imported_plugins() -> list[str]:
    """The plugins so far, for processes that must import the same."""
    return list(_imported)


def command(*words: object) -> str:
    """A command of floq's to copy, which names the plugins so far.

    Example:
        >>> command("resume", "runs/my run")
        "floq resume 'runs/my run'"
    """
    return quoted("floq", *words, *(f"--plugin={name}" for name in _imported))
