"""Formats of data files: one module each, found by a prefix or by what a source holds."""

import contextlib
import difflib
import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from floq.data.bounds import ActionBounds
from floq.data.files import SIMULATION, DatasetFile, advice_on_successes
from floq.data.formats.episodes import together
from floq.data.reading import Reading
from floq.data.validation import RowError
from floq.disk import user_path

_OWN = ("npz", "minari", "robomimic", "d4rl", "lerobot", "ogbench")
REGISTERED: dict[str, Any] = {}
"""The formats that are loaded, by prefix; those of the library are loaded when they are needed."""
_PARTS = ("OPTIONS", "recognises", "read")
_PREFIX = re.compile(r"([a-z][a-z0-9_-]+):(.+)", re.DOTALL)


class Source(NamedTuple):
    """Files of one format.

    Attributes:
        format: Its prefix.
        path: The file or folder.
    """

    format: str
    path: Path

    def __str__(self) -> str:
        """As it is given on the command line."""
        return f"{self.format}:{self.path}"

    @property
    def noted(self) -> str:
        """As a run notes it: an npz file by its place alone, wherever the others' are, in full."""
        path = self.path.resolve()
        return str(path) if self.format == "npz" else f"{self.format}:{path}"


def register_format(name: str, format: Any) -> None:
    """Makes a format of your own known, in this process, by a prefix.

    `floq.Dataset.load("NAME:…")` and `--data NAME:…` then read it, and sources without a prefix are
    shown to it. On the command line, `--plugin MODULE` imports the module that calls this.

    Args:
        name: The prefix, of small letters, digits, _ and -.
        format: A module, or any object, with `OPTIONS`, the names of the fields of
            `floq.data.reading.Reading` that it understands; `recognises(path) -> bool`, whether a
            file or folder is of this format, by what it holds; `read(path, reading) ->
            floq.data.files.DatasetFile`; and maybe `locate(name) -> Path`, where the files of a
            name lie.

    Raises:
        TypeError: If a part is missing.
        ValueError: If the name cannot be a prefix, or is one of the library's.
    """
    missing = [part for part in _PARTS if not hasattr(format, part)]
    if missing:
        raise TypeError(
            f"format {name!r} lacks {', '.join(missing)}: it needs {', '.join(_PARTS)}, as "
            "floq.register_format describes them."
        )
    if not _PREFIX.fullmatch(f"{name}:x") or name in _OWN:
        raise ValueError(
            f"format {name!r} cannot be registered: give small letters, digits, _ and -, and none "
            f"of {', '.join(_OWN)}."
        )
    REGISTERED[name] = format


def format_names() -> list[str]:
    """The prefixes of all formats."""
    return list(dict.fromkeys([*_OWN, *REGISTERED]))


def find_format(name: str) -> Any:
    """The format of a prefix, which is one of `format_names`."""
    if name not in REGISTERED:
        REGISTERED[name] = importlib.import_module(f"floq.data.formats.{name}")
    return REGISTERED[name]


def find_source(source: str | Path | Source) -> Source:
    """Where a source lies, and its format: by its prefix, else by what it holds.

    Args:
        source: A path, or `minari:NAME`, `d4rl:PATH`, `robomimic:PATH`, `lerobot:PATH`,
            `ogbench:NAME`, `npz:PATH`, or the prefix of a format that is registered.

    Raises:
        FileNotFoundError: There is nothing at its place.
        ValueError: It is of no format that is known.
        MissingExtraError: A package is missing that looks into it.
    """
    if isinstance(source, Source):
        return source
    path = user_path(source)
    found = _PREFIX.fullmatch(str(source))
    if found and not path.exists():
        name, place = found.groups()
        if name not in format_names():
            close = difflib.get_close_matches(name, format_names(), n=1)
            hint = f"did you mean {close[0]}:{place}?" if close else "leave it out for a path."
            raise ValueError(
                f"{source}: no format is called {name!r}: there is {', '.join(format_names())}; "
                f"{hint} One of your own is made known by floq.register_format (--plugin MODULE)."
            )
        path = user_path(place)
        if not path.exists():
            locate = getattr(find_format(name), "locate", None)
            path = path if locate is None else locate(place)
        if not path.exists():
            raise FileNotFoundError(f"{source}: no such file: {path} is not there")
        return Source(name, path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    for name in format_names():
        if find_format(name).recognises(path):
            return Source(name, path)
    if path.suffix == ".npz":
        return Source("npz", path)  # Whose reader says what is wrong with it.
    raise ValueError(
        f"{path}: it is none of {', '.join(format_names())}, by what it holds: it may be cut short "
        "or of another kind. Name its format in front of the path, as in d4rl:PATH, to see what is "
        "missing"
    )


def read_source(source: Source, reading: Reading) -> DatasetFile:
    """All that floq knows of a source, not checked.

    Raises:
        FileNotFoundError: There is nothing at its place.
        ValueError: It is damaged or lacks something, or options do not belong to its format.
        MissingExtraError: A package is missing that reads it.
    """
    format = format_for(source, reading)
    if hasattr(format, "read"):
        return format.read(source.path, reading)
    return together(format.stream(source.path, reading))


def format_for(source: Source, reading: Reading) -> Any:
    """The format of a source, which has every choice that the reading makes.

    Raises:
        ValueError: If it lacks one.
    """
    format = find_format(source.format)
    for name, value in reading.said.items():
        if name not in format.OPTIONS:
            raise ValueError(
                f"{source.path}: {name} is {value!r}, and data in the format {source.format} has "
                "no such choice: leave it out"
            )
    return format


def source_arguments(
    file: DatasetFile, path: Path, reading: Reading, *, given: ActionBounds | None
) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
    """What to build a dataset by, and bounds that actions which are rescaled have already.

    Args:
        file: What was read.
        path: Where.
        reading: How it was read, where it leaves that open.
        given: Bounds of its actions, if somebody gave them.

    Returns:
        The arguments of `Dataset.from_trajectories`, or of `Dataset.from_transitions` where there
        are no terminals among them; and, by name, what is to be recorded after it.

    Raises:
        ValueError: It lacks a field, or it and the arguments contradict.
    """
    if "rewards" not in file.arrays:
        raise ValueError(
            f"{path}: no array named rewards or masks, as in OGBench's files, whose rewards follow "
            "from a task: load that with floq.load_task, or add both" + advice_on_successes(path)
        )
    if given is not None and file.bounds is not None and not given.equals(file.bounds):
        raise ValueError(
            f"{path}: it says that its actions lie within {file.bounds}, and {given} was given: "
            "leave the bounds out, or give those of the file"
        )
    arguments: dict[str, Any] = {
        field: values for field, values in file.arrays.items() if field not in SIMULATION
    }
    if "terminals" in arguments:
        arguments["layout"] = file.layout or reading.layout
    elif reading.layout is not None:
        raise ValueError(
            f"{path}: layout is {reading.layout!r}, and it holds next_observations, with which "
            "every row is a transition: leave the layout out"
        )
    if file.is_saved and file.bounds is not None:
        return arguments, file.bounds.named
    bounds = file.bounds or given
    return arguments | ({} if bounds is None else bounds.named), {}


@contextlib.contextmanager
def placed(file: DatasetFile) -> Iterator[None]:
    """Where the rows of a file are checked: a fault says which row of which episode it is in.

    Raises:
        ValueError: What the checks raise.
    """
    try:
        yield
    except RowError as error:
        if file.place is None:
            raise
        raise ValueError(f"{error} (which is {file.place(error.row)})") from error


def as_sources(source: str | Path | Source | Sequence[str | Path | Source]) -> tuple[Source, ...]:
    """One or several sources, found.

    Raises:
        FileNotFoundError: There is nothing at the place of one.
        ValueError: There is none, or one is of no format that is known.
    """
    if isinstance(source, str | Source) or not isinstance(source, Sequence):
        source = [source]
    if not source:
        raise ValueError("no source of data is given: name one or more")
    return tuple(find_source(one) for one in source)
