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
                f"plugin {name!r} is a path, where the name of a module is needed: go to its "
                f"folder and give that, as in --plugin {PurePath(name).stem}."
            )
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ValueError(
                f"plugin {name!r} cannot be imported ({type(error).__name__}: {error}): give the "
                "name of a module that is installed or lies where you work, as in my_package.mine."
            ) from error
        if name not in _imported:
            _imported.append(name)


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
