"""Parts of a spec, and settings by dotted name (`critic.integration_steps`): read and replaced."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from floq.settings import from_json, nearest, to_json

Config = TypeVar("Config")
Part = TypeVar("Part")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def read_part(kind: type[Part], given: Any, name: str) -> Part:
    """A part of a spec; keys that have a default may be absent.

    Args:
        kind: Its dataclass.
        given: What the file has.
        name: What it is called in errors.

    Raises:
        ValueError: If a key is unknown, or a value is of another type or out of its range.
    """
    defaults = {}
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    known = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for key in as_table(given, name):
        if key not in known:
            raise ValueError(f"{name} has no key {key!r}: {nearest(key, known)}")
    return from_json(kind, defaults | given, name=name)


def as_table(given: Any, name: str) -> dict[str, Any]:
    """What a file has, if it is a table.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(given, dict):
        raise ValueError(f"{name} is {given!r}: it must be a table, as [table] begins one.")
    return given


def check_label(label: str, name: str) -> None:
    """Refuses a name of one's own that cannot be part of a folder's.

    Raises:
        ValueError: If it cannot.
    """
    if not _LABEL.fullmatch(label):
        raise ValueError(
            f"{name}: the name {label!r} cannot be part of a folder's name: use letters, digits "
            "and the signs _ . + -"
        )


def replace_settings(config: Config, changes: Mapping[str, Any], *, name: str) -> Config:
    """A config with some settings replaced, checked as a whole.

    Args:
        config: Nested frozen dataclasses.
        changes: New values by dotted name, as TOML or JSON gives them.
        name: What the changes are called in errors.

    Raises:
        ValueError: If a setting is unknown, or a value is of another type or out of its range.
    """
    return _replace(config, _nested(changes), name)


def setting(config: Any, key: str) -> Any:
    """The value of a setting, by its dotted name."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables as dotted names; whatever is not a table is a value."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": item for inner, item in flat(value).items()}
        else:
            found[name] = value
    return found


def spelled(value: Any) -> str:
    """A value as names of folders and cells of tables spell it: 3 for 3.0, 64x64 for (64, 64)."""
    if isinstance(value, list | tuple):
        return "x".join(map(spelled, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in changes.items():
        *outer, last = name.split(".")
        place = tree
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def _replace(config: Any, changes: Mapping[str, Any], name: str) -> Any:
    if not dataclasses.is_dataclass(config):
        raise ValueError(
            f"{name} is one value: it cannot be {dict(changes)}, with settings inside."
        )
    hints, values = get_type_hints(type(config)), {}
    for key, change in changes.items():
        if key not in hints:
            raise ValueError(f"{name} has no setting {key!r}: {nearest(key, hints)}")
        inner, full = getattr(config, key), f"{name}.{key}"
        if isinstance(change, Mapping) and not isinstance(inner, Mapping):
            values[key] = _replace(inner, change, full)
        else:
            values[key] = from_json(hints[key], change, name=full)
    try:
        return dataclasses.replace(config, **values)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
