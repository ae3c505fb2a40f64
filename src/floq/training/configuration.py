"""Settings as JSON: frozen dataclasses out, and back in without guessing."""

import dataclasses
import json
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")


def to_json(value: Any) -> Any:
    """The JSON form of settings.

    Dataclasses and named tuples become objects, other tuples become lists.

    Args:
        value: Nested dataclasses, named tuples, tuples, mappings, strings, numbers, booleans, None.

    Raises:
        ValueError: If a value is none of these.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        return {name: to_json(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    raise ValueError(
        f"{value!r} is a {type(value).__name__}, which cannot be written into a config file: "
        "settings are numbers, strings, booleans, None, tuples of these and nested dataclasses."
    )


def from_json(kind: type[Settings] | Any, data: Any, *, name: str = "config") -> Settings:
    """Settings from what `to_json` made of them.

    Nothing is filled in, and only whole numbers are converted, where a float is due: each field
    must be there with a value of its type, so that a file of another version, or an edited one,
    fails at once.

    Args:
        kind: The dataclass or named tuple to build, or the type of a single setting.
        data: What was read.
        name: What the settings are called in errors.

    Raises:
        ValueError: If a field is unknown or missing or has a value of another type, or if the
            dataclass itself refuses the values.
    """
    return _parse(kind, data, name)


def _hints(kind: type) -> dict[str, Any]:
    """The fields of a dataclass or named tuple that its values are made of."""
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {name: hints[name] for name in kind._fields}  # pyright: ignore[reportAttributeAccessIssue]


def _parse(kind: Any, data: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        return _parse_union(arguments, data, name)
    if origin is Literal:
        if data in arguments:
            return data
        raise ValueError(f"{name} is {data!r}: it must be one of {_listed(arguments)}.")
    if origin is tuple and isinstance(data, list):
        return _parse_tuple(arguments, data, name)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(data, dict):
        return {key: _parse(arguments[1], item, f"{name}.{key}") for key, item in data.items()}
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return _parse_fields(kind, data, name)
    # JSON has one kind of number, and spells 1.0 as people do: 1.
    if kind is float and type(data) is int and abs(data) <= sys.float_info.max:
        return float(data)
    simple = kind in (bool, int, float, str, type(None))
    if simple and isinstance(data, kind) and (kind is bool or not isinstance(data, bool)):
        return data
    expected = getattr(kind, "__name__", str(kind))
    raise ValueError(f"{name} is {data!r}: it must be of type {expected}.")


def _parse_union(kinds: tuple[Any, ...], data: Any, name: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    for kind in kinds[:-1]:
        try:
            return _parse(kind, data, name)
        except ValueError:
            continue
    return _parse(kinds[-1], data, name)


def _parse_tuple(kinds: tuple[Any, ...], data: list[Any], name: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(data)
    if len(kinds) != len(data):
        raise ValueError(f"{name} has {len(data)} entries: it must have {len(kinds)}.")
    pairs = enumerate(zip(kinds, data, strict=True))
    return tuple(_parse(kind, item, f"{name}[{index}]") for index, (kind, item) in pairs)


def _parse_fields(kind: type, data: Any, name: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{name} is {data!r}: it must be an object with {kind.__name__}'s fields.")
    hints = _hints(kind)
    unknown = [field for field in data if field not in hints]
    missing = [field for field in hints if field not in data]
    if unknown:
        raise ValueError(
            f"{name} has no setting named {_listed(unknown)}: {kind.__name__} has {_listed(hints)}."
        )
    if missing:
        hint = _defaults(kind, missing)
        raise ValueError(f"{name} lacks {_listed(missing)}: every setting must be given.{hint}")
    values = {field: _parse(hints[field], data[field], f"{name}.{field}") for field in hints}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _defaults(kind: type, names: list[str]) -> str:
    """How a file of an older version can be completed, where its settings have defaults."""
    if not dataclasses.is_dataclass(kind):
        return ""
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    defaults = {name: fields[name] for name in names if fields[name] is not dataclasses.MISSING}
    if len(defaults) < len(names):
        return ""
    entries = json.dumps(to_json(defaults))[1:-1]
    return f" If an older version of floq wrote the file, add {entries}: the defaults of this one."


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names)
