"""Algorithms: short files that wire a critic and a policy together, found by their names."""

import dataclasses
import importlib.metadata
import inspect
from typing import Any

from floq.algorithms import bc, floq, fql, ifql, iql, rebrac
from floq.settings import is_same_class
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
_SETTINGS = ("batch_size", "discount", "action_chunk", "n_step")
"""What training reads of every config."""


def register_algorithm(name: str, algorithm: Any) -> None:
    """Makes an algorithm of your own known, in this process, by a name.

    Registered again, as by a cell of a notebook that is run again, it takes the former's place.

    Training, resuming, evaluating, reports and sweeps then take it as they take the library's. On
    the command line, `--plugin MODULE` imports the module that calls this; an installed package
    can name its module in the entry-point group `floq.algorithms` instead:
    `[project.entry-points."floq.algorithms"]`, then `NAME = "package.module"`.

    Args:
        name: What runs, sweeps and the command line call it.
        algorithm: A module, or any object, with `Config`, `init`, `update` and `act` as
            `floq.Algorithm` describes them; `act_behaviour` beside them is evaluated as "bc". In a
            module, `register_algorithm("mine", sys.modules[__name__])` registers it by its import.

    Raises:
        TypeError: If a part is missing, or `Config` is no frozen dataclass with the settings
            `batch_size`, `discount`, `action_chunk` and `n_step`.
        ValueError: If the name, or the config, is another algorithm's.
    """
    missing = [part for part in _PARTS if not hasattr(algorithm, part)]
    if missing:
        raise TypeError(
            f"algorithm {name!r} lacks {', '.join(missing)}: it needs {', '.join(_PARTS)}, as "
            "floq.Algorithm describes them."
        )
    kind: Any = algorithm.Config
    parameters = getattr(kind, "__dataclass_params__", None)
    if not (inspect.isclass(kind) and parameters and parameters.frozen):
        raise TypeError(
            f"Config of algorithm {name!r} is {kind!r}: give a class with "
            "@dataclasses.dataclass(frozen=True), since it is compiled into programs."
        )
    fields = {field.name for field in dataclasses.fields(algorithm.Config)}
    missing = [field for field in _SETTINGS if field not in fields and not hasattr(kind, field)]
    if missing:
        raise TypeError(
            f"Config of algorithm {name!r} lacks {', '.join(missing)}: training reads "
            f"{', '.join(_SETTINGS)} of every config. Without action chunks and n-step targets, "
            "action_chunk and n_step are 1."
        )
    for known, other in REGISTERED.items():
        if (known == name) != is_same_class(other.Config, kind):
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
        ValueError: If there is none, or the package that has it cannot be loaded.
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
        TypeError: If no algorithm has such a config; a class derived from a config is none. If a
            setting can be changed in place.
    """
    if isinstance(config, str):
        raise TypeError(
            f"config is {config!r}, a name: give its settings, as in floq.preset({config!r})."
        )
    kind = config if isinstance(config, type) else type(config)
    for find in (lambda: [*REGISTERED], algorithm_names):  # Others are loaded if need be.
        for name in find():
            if find_algorithm(name).Config is type(config):
                _check_settings(config)
                return name, REGISTERED[name]
    derived = [name for name, known in REGISTERED.items() if issubclass(kind, known.Config)]
    hint = f" It is derived from that of {derived[0]}, but is not it." if derived else ""
    if kind is config:
        hint = f" It is a class: call it, as in {kind.__name__}()."
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} is not an algorithm's config.{hint} Give that of "
        f"{', '.join(REGISTERED)}, such as floq.FloqConfig(), or make the algorithm that this one "
        "belongs to known by floq.register_algorithm."
    )


def _check_settings(config: Any) -> None:
    """Refuses values that cannot be part of a program."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"config.{field.name} is {value!r}: settings are compiled into programs, so give a "
                "value that stays as it is, such as a tuple in place of a list."
            ) from None


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=_GROUP)


def _load(name: str) -> None:
    for point in _entry_points():
        if point.name == name:
            try:
                register_algorithm(name, point.load())
            except Exception as error:
                raise ValueError(
                    f"algorithm {name!r} cannot be loaded from {point.value}, which an installed "
                    f"package names as its own ({type(error).__name__}: {error}): mend or remove "
                    "that package."
                ) from error
