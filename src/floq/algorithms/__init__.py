"""Algorithms: short files that wire a critic and a policy together, found by their names."""

import importlib.metadata
import inspect
from typing import Any

from floq.algorithms import bc, floq, fql, ifql, iql, rebrac
from floq.types import Algorithm

REGISTERED: dict[str, Algorithm] = {
    "floq": floq,
    "fql": fql,
    "rebrac": rebrac,
    "iql": iql,
    "ifql": ifql,
    "bc": bc,
}
"""The algorithms that are loaded, by name. Others are loaded from entry points when asked for."""

_GROUP = "floq.algorithms"
_PARTS = ("Config", "init", "update", "act")


def register_algorithm(name: str, algorithm: Algorithm) -> None:
    """Makes an algorithm of your own known, in this process, by a name.

    Training, resuming, evaluating, reports and sweeps then take it as they take the library's. On
    the command line, `--plugin MODULE` imports the module that calls this; an installed package
    can name its module in the entry-point group `floq.algorithms` instead.

    Args:
        name: What runs, sweeps and the command line call it.
        algorithm: A module, or any object, with `Config`, `init`, `update` and `act` as
            `floq.types.Algorithm` describes them.

    Raises:
        TypeError: If a part is missing, or `Config` is no frozen dataclass.
        ValueError: If the name, or the config, is another algorithm's.
    """
    missing = [part for part in _PARTS if not hasattr(algorithm, part)]
    if missing:
        raise TypeError(
            f"algorithm {name!r} lacks {', '.join(missing)}: it needs {', '.join(_PARTS)}, as "
            "floq.types.Algorithm describes them."
        )
    kind: Any = algorithm.Config
    parameters = getattr(kind, "__dataclass_params__", None)
    if not (inspect.isclass(kind) and parameters and parameters.frozen):
        raise TypeError(
            f"Config of algorithm {name!r} is {kind!r}: give a class with "
            "@dataclasses.dataclass(frozen=True), since it is compiled into programs."
        )
    for known, other in REGISTERED.items():
        if (known == name) != (other.Config is kind):
            raise ValueError(
                f"algorithm {name!r} with {kind.__module__}.{kind.__qualname__} clashes with "
                f"{known!r}, which is registered with {other.Config.__module__}."
                f"{other.Config.__qualname__}: give each a name and a Config of its own."
            )
    REGISTERED[name] = algorithm


def algorithm_names() -> list[str]:
    """The names of all algorithms: the library's, registered ones, and those of entry points."""
    return list(dict.fromkeys([*REGISTERED, *(point.name for point in _entry_points())]))


def find_algorithm(name: str) -> Algorithm:
    """The algorithm of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in REGISTERED:
        _load(name)
    if name not in REGISTERED:
        raise ValueError(
            f"algorithm is {name!r}: there is {', '.join(algorithm_names())}. One of your own is "
            "made known by floq.register_algorithm, on the command line by --plugin MODULE."
        )
    return REGISTERED[name]


def algorithm_of(config: Any) -> tuple[str, Algorithm]:
    """The name and the algorithm that a config belongs to.

    Raises:
        TypeError: If no algorithm has such a config; a class derived from a config is none.
    """
    for name in algorithm_names():
        if find_algorithm(name).Config is type(config):
            return name, REGISTERED[name]
    kind = config if isinstance(config, type) else type(config)
    derived = [name for name, known in REGISTERED.items() if issubclass(kind, known.Config)]
    hint = f" It is derived from that of {derived[0]}, but is not it." if derived else ""
    if kind is config:
        hint = f" It is a class: call it, as in {kind.__name__}()."
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} is not an algorithm's config.{hint} Give one of "
        f"{', '.join(f'floq.algorithms.{name}.Config' for name in REGISTERED)}, or make an "
        "algorithm with this config known by floq.register_algorithm."
    )


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=_GROUP)


def _load(name: str) -> None:
    for point in _entry_points():
        if point.name == name:
            register_algorithm(name, point.load())
