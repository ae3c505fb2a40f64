"""How the words of a command line are read: options before or after what they belong to."""

import dataclasses
import types
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

Command = TypeVar("Command")
_Values = Literal["none", "one", "numbers", "texts"]
"""The words that an option takes: numbers and texts are one or more."""

_registry = ConstructorRegistry()


class Words(NamedTuple):
    """The words of a command line.

    Attributes:
        options: Options, each with its values.
        positionals: The others.
        unknown: Whether there is an option that the command does not have, whose values cannot be
            told from positionals.
    """

    options: list[str]
    positionals: list[str]
    unknown: bool


def parse(command: type[Command], arguments: list[str], *, name: str) -> Command:
    """A command with its arguments, or an exit with help or an error.

    Args:
        command: The dataclass.
        arguments: The words behind its name.
        name: What it is called.
    """
    words = split(command, arguments)
    if words.positionals:
        # What follows an option that tyro does not know is lost to it, so that goes last.
        parts = (words.positionals, words.options)
        arguments = [*parts[0], *parts[1]] if words.unknown else [*parts[1], "--", *parts[0]]
    with _registry:
        return tyro.cli(
            command, args=arguments, prog=f"floq {name}", config=(tyro.conf.AvoidSubcommands,)
        )


def split(command: type, arguments: list[str]) -> Words:
    """Tells options and their values from positionals, wherever they stand.

    An option of several numbers ends before the first word that is none; one of several texts, or
    an unknown one, has its last word taken away where no other is left for a positional.
    """
    known = _options(command, None, "")
    found, words = Words([], [], False), list(arguments)
    spare = None
    while words:
        word = words.pop(0)
        if word == "--":
            found.positionals.extend(words)
            break
        if not _is_option(word):
            found.positionals.append(word)
            continue
        if word.startswith("--tyro-"):  # A shell asks what completes a word.
            return Words(arguments, [], unknown=True)
        found.options.append(word)
        option, equals, _ = word.partition("=")
        values = known.get(option.replace("_", "-"))
        if values is None:
            found = found._replace(unknown=True)
        if values == "none" or equals:
            continue
        taken = 0
        while words and words[0] != "--" and not _is_option(words[0]):
            if taken and (values == "one" or (values == "numbers" and not _is_number(words[0]))):
                break
            found.options.append(words.pop(0))
            taken += 1
        if taken > (values is not None) and values in (None, "texts"):
            spare = len(found.options) - 1
    if spare is not None and not found.positionals:
        found.positionals.append(found.options.pop(spare))
    return found


def _options(kind: type, default: Any, prefix: str) -> dict[str, _Values]:
    """The options of a dataclass, as tyro names them."""
    found: dict[str, _Values] = {"--help": "none", "-h": "none"}
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, markers = hints[field.name], ()
        while hasattr(hint, "__metadata__"):
            markers += hint.__metadata__
            hint = hint.__origin__
        if tyro.conf.Positional in markers:
            continue
        value = field.default if default is None else getattr(default, field.name)
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = prefix if tyro.conf.OmitArgPrefixes in markers else f"{prefix}{name}."
            found |= _options(type(value), value, inner)
            continue
        aliases = [alias for one in markers for alias in getattr(one, "aliases", None) or ()]
        # Those are given once for each value.
        is_repeated = tyro.conf.UseAppendAction in markers
        for option in (f"--{prefix}{name}", *aliases):
            found[option] = "one" if is_repeated else _values(hint)
        if hint is bool:
            found[f"--{prefix}no-{name}"] = "none"
    return found


def _values(hint: Any) -> _Values:
    """The words that an option of a type takes."""
    if hint is bool:
        return "none"
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if get_origin(kind) is tuple:
            return "numbers" if set(get_args(kind)) <= {int, float, ...} else "texts"
    return "one"


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


@_registry.primitive_rule
def _whole_numbers(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    """Has 1e6 stand for an int, as everywhere in floq."""
    if kind.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: _whole(words[0]),
        is_instance=lambda value: type(value) is int,
        str_from_instance=lambda value: [str(value)],
    )


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        pass
    if _is_number(word) and float(word).is_integer():
        return int(float(word))
    raise ValueError(f"{word!r} is no whole number")
