"""Settings: taken in any form that says what is due, and as JSON out and back in."""

import dataclasses
import difflib
import functools
import json
import math
import numbers
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import (
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

Settings = TypeVar("Settings")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_WORDS = {int: "int: a whole number", float: "float: a finite number", type(None): "NoneType"}
_LONGEST_VALUE = 200
_TOO_LARGE = 2**63  # For the compiled program, and for the arrays of numpy.
_KIND = "kind"
_KINDS: dict[type, dict[str, type]] = {}
"""Open types: the classes that a setting of such a type may have, by their names in files."""


def register_kind(base: type, name: str, kind: type) -> None:
    """Lets settings of an open type be of one more class, which files know by a name.

    Args:
        base: The open type: a class that the settings' fields are declared with.
        name: What files call the class.
        kind: A frozen dataclass derived from `base`.

    Raises:
        TypeError: If it is no such class.
        ValueError: If the name or the class is taken.
    """
    parameters = getattr(kind, "__dataclass_params__", None)
    if not (isinstance(kind, type) and issubclass(kind, base) and parameters and parameters.frozen):
        raise TypeError(
            f"{kind!r} is no class of settings here: derive it from {base.__name__}, with "
            "@dataclasses.dataclass(frozen=True)."
        )
    known = _KINDS.setdefault(base, {})
    if name in known and is_same_class(known[name], kind):
        known[name] = kind
        return
    if name in known or kind in known.values():
        raise ValueError(
            f"{name!r} for {kind.__name__} clashes with what is registered: "
            f"{_listed(f'{one!r} for {other.__name__}' for one, other in known.items())}."
        )
    known[name] = kind


def is_same_class(former: type, later: type) -> bool:
    """Whether a class is another one defined anew, as by a cell of a notebook that is run again."""
    return (former.__module__, former.__qualname__) == (later.__module__, later.__qualname__)


def normalise(settings: Any) -> None:
    """Gives each field of a dataclass exactly the type that it is declared with.

    For `__post_init__`, before ranges are checked. A whole float becomes an int where one is due,
    an int a float, a scalar of numpy or jax a number, a list or an array a tuple, so that equal
    settings are one: written alike, compiled once. A bool is no number, and text is none either.

    Raises:
        ValueError: If a field is anything else; the message names it, its value and what is due.
    """
    kind = type(settings)
    for field, hint in _hints(kind).items():
        value = given(hint, getattr(settings, field), name=f"{kind.__name__}.{field}")
        object.__setattr__(settings, field, value)


def check_positive(settings: Any, *names: str) -> None:
    """Refuses whole numbers below 1, other numbers that are not above 0, and NaN.

    Raises:
        ValueError: If there is one.
    """
    for name in names:
        value = getattr(settings, name)
        if not value > 0:
            due = "a whole number, 1 or more" if isinstance(value, int) else "a number above 0"
            raise ValueError(f"{name} is {value}: give {due}.")


def check_not_negative(settings: Any, *names: str) -> None:
    """Refuses settings below 0, and NaN.

    Raises:
        ValueError: If there is one.
    """
    for name in names:
        if not getattr(settings, name) >= 0:
            raise ValueError(f"{name} is {getattr(settings, name)}: give 0 or more.")


def takes_settings(
    *names: str,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Has a function take keyword arguments as `normalise` has a dataclass take its fields.

    Args:
        names: The arguments, whose types the function's signature says.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
            hints = get_type_hints(function)
            for name in keywords.keys() & set(names):
                keywords[name] = given(hints[name], keywords[name], name=name)
            return function(*arguments, **keywords)

        return call

    return decorate


def given(kind: Any, value: Any, *, name: str) -> Any:
    """A value of a type, from one that a person gave in Python.

    Args:
        kind: The type, such as `int | None` or `tuple[float, ...]`.
        value: What was given.
        name: What it is called in errors.

    Raises:
        ValueError: If it stands for nothing of that type.
    """
    if isinstance(value, Mapping) and get_origin(kind) is not Mapping and kind is not Any:
        raise _refusal(kind, value, name)  # Fields by name are what files have.
    return _parse(kind, value, name)


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
        return {
            name: _with_kind(hint, getattr(value, name))
            for name, hint in _hints(type(value)).items()
        }
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    raise ValueError(
        f"{value!r} is a {type(value).__name__}, which cannot be written into a config file: "
        "settings are numbers, strings, booleans, None, tuples of these and nested dataclasses."
    )


def _with_kind(hint: Any, value: Any) -> Any:
    """The JSON form of a field, which names its class where the field's type leaves it open."""
    names = [name for name, kind in _KINDS.get(hint, {}).items() if kind is type(value)]
    return {_KIND: names[0], **to_json(value)} if names else to_json(value)


def from_json(kind: type[Settings] | Any, data: Any, *, name: str = "config") -> Settings:
    """Settings from what `to_json` made of them.

    Nothing is filled in, and only numbers of equal value are converted, 3.0 to 3 or back: each
    field must be there with a value of its type, so that a file of another version, or an edited
    one, fails at once.

    Args:
        kind: The dataclass or named tuple to build, or the type of a single setting.
        data: What was read.
        name: What the settings are called in errors.

    Raises:
        ValueError: If a field is unknown or missing or has a value of another type, or if the
            dataclass itself refuses the values.
    """
    return _parse(kind, data, name)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The fields of a dataclass or named tuple that its values are made of."""
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {name: hints[name] for name in kind._fields}  # pyright: ignore[reportAttributeAccessIssue]


def _parse(kind: Any, data: Any, name: str) -> Any:
    if kind is Any:
        return data
    if kind in _KINDS:
        return _parse_open(kind, data, name)
    origin, arguments = get_origin(kind), get_args(kind)
    value = _plain(data)
    if origin in (Union, types.UnionType):
        return _parse_union(kind, value, name)
    if origin is Literal:
        if any(value == known and type(value) is type(known) for known in arguments):
            return value
        raise ValueError(f"{name} is {_shown(data)}: it must be one of {_listed(arguments)}.")
    if origin in (tuple, Sequence) and isinstance(value, Sequence) and not isinstance(value, str):
        kinds = arguments if origin is tuple else (*arguments, ...)
        return _parse_tuple(kinds, value, name)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(data, Mapping):
        return {key: _parse(arguments[1], item, f"{name}.{key}") for key, item in data.items()}
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    if kind is int and type(value) is int and abs(value) >= _TOO_LARGE:
        raise ValueError(f"{name} is {_shown(data)}: it must be below 2**63 in size.")
    if kind is float and type(value) in (int, float) and _is_finite(value):
        return float(value)
    if type(value) is kind and kind is not float:
        return value
    if isinstance(kind, type) and kind not in (bool, int, float, str, type(None)):
        if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
            return _parse_fields(kind, data, name)
        if isinstance(data, kind):
            return data
    raise _refusal(kind, data, name)


def _plain(value: Any) -> Any:
    """Python's own number, text or list in place of one that is derived from it, or an array."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return str.__str__(value) if isinstance(value, str) else value


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # An int that no float is large enough for.
        return False


def _refusal(kind: Any, value: Any, name: str) -> ValueError:
    """The error of a value that stands for nothing of a type."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    words = [
        _WORDS.get(one) or (str(one) if get_origin(one) else getattr(one, "__name__", str(one)))
        for one in kinds
    ]
    due = " or ".join(words).replace("collections.abc.", "")
    text = f"{name} is {_shown(value)}: it must be of type {due}"
    if dataclasses.is_dataclass(value) and isinstance(
        value, tuple(one for one in kinds if isinstance(one, type))
    ):
        text += f" itself, and {type(value).__name__} is derived from it"
    return ValueError(f"{text}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _parse_union(kind: Any, data: Any, name: str) -> Any:
    if data is None and type(None) in get_args(kind):
        return None
    kinds = [one for one in get_args(kind) if one is not type(None)]
    # 1.0 stays a float where an int would do as well.
    kinds.sort(key=lambda one: type(data) is not one)
    for one in kinds:
        try:
            return _parse(one, data, name)
        except ValueError:
            # What the last one says names what is wrong inside.
            if one is kinds[-1] and (len(kinds) == 1 or isinstance(data, dict)):
                raise
    raise _refusal(kind, data, name)


def _parse_tuple(kinds: tuple[Any, ...], data: Sequence[Any], name: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(data)
    if len(kinds) != len(data):
        raise ValueError(
            f"{name} has {len(data)} entries, {_shown(data)}: it must have {len(kinds)}."
        )
    pairs = enumerate(zip(kinds, data, strict=True))
    return tuple(_parse(kind, item, f"{name}[{index}]") for index, (kind, item) in pairs)


def _parse_fields(kind: type, data: Any, name: str) -> Any:
    if not isinstance(data, dict):
        if dataclasses.is_dataclass(data):
            raise _refusal(kind, data, name)
        raise ValueError(
            f"{name} is {_shown(data)}: it must be an object of type {kind.__name__}, with its "
            "fields."
        )
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


def nearest(word: str, known: Iterable[str]) -> str:
    """What may have been meant, for an error message."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}There are {', '.join(known)}."


def _parse_open(base: type, data: Any, name: str) -> Any:
    """Settings of an open type, of a class that is registered."""
    known = _KINDS[base]
    if type(data) in known.values():
        return data
    if not isinstance(data, Mapping):
        raise ValueError(
            f"{name} is {_shown(data)}: it must be a "
            f"{' or '.join(kind.__name__ for kind in known.values())} itself, and "
            f"{type(data).__name__} is none of these. A class of your own is derived from "
            f"{base.__name__} and registered by a name."
        )
    fields = dict(data)
    # Files of former versions do not say the kind; their classes have different fields.
    alike = [one for one, kind in known.items() if _hints(kind).keys() == fields.keys()]
    chosen = fields.pop(_KIND, alike[0] if alike else None)
    if chosen not in known:
        raise ValueError(
            f"{name}.{_KIND} is {chosen!r}: it must be one of {_listed(known)}. One of your own is "
            "registered by the module that defines it (--plugin MODULE on the command line)."
        )
    return _parse_fields(known[chosen], fields, name)


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
