"""The specification of a sweep: a short TOML file, checked before anything starts."""

import dataclasses
import fnmatch
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from floq.disk import user_path
from floq.runs.settings import Schedule
from floq.settings import from_json, to_json
from floq.sweeps.settings import flat, nearest
from floq.tasks import task_names, unknown_task

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True)
class Choices:
    """A setting that a search picks from a list."""

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Refuses a choice without alternatives."""
        if len(self.choices) < 2:
            raise ValueError(f"choices are {list(self.choices)}: give two or more.")


@dataclasses.dataclass(frozen=True)
class Range:
    """A number that a search draws from an interval.

    Attributes:
        low: Lower end, which is included; whole for a setting that is.
        high: Upper end, likewise.
        log: Whether its logarithm is drawn evenly.
    """

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        """Refuses empty intervals, and logarithms of what is not positive."""
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}: low must be smaller.")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}: with log = true it must be above 0.")


@dataclasses.dataclass(frozen=True)
class Method:
    """An algorithm with settings, under a name of its own.

    Attributes:
        label: What it is called in names of runs and in tables.
        preset: The algorithm whose published settings for each task are the start.
        settings: What replaces them, by dotted name.
        grid: Values of each setting that is varied: every combination is run.
        space: What a search varies; a method has this or a grid.
    """

    label: str
    preset: str
    settings: Mapping[str, Any]
    grid: Mapping[str, tuple[Any, ...]]
    space: Mapping[str, Choices | Range]


@dataclasses.dataclass(frozen=True)
class Search:
    """How a search goes on, for each task and each method that has one.

    Attributes:
        trials: Settings that are tried.
        parallel: Trial n is chosen from the results of all trials up to n − parallel, whatever
            else is finished by then: so many can run at once, and the choice does not depend on
            which of them is faster.
        seed: Seed of the choices.
    """

    trials: int
    parallel: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses counts below 1."""
        for name in ("trials", "parallel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: give 0 or more.")


@dataclasses.dataclass(frozen=True)
class Resources:
    """What one run takes of the machines.

    Attributes:
        cpus: Cores.
        gpus: GPUs: 0.25 lets four runs share one. None takes one where the cluster has any.
        retries: Losses of its worker that a run survives before it is given up.
    """

    cpus: float = 1.0
    gpus: float | None = None
    retries: int = 20

    def __post_init__(self) -> None:
        """Refuses shares that Ray cannot give."""
        if self.cpus <= 0:
            raise ValueError(f"cpus is {self.cpus}: give a number above 0.")
        gpus = self.gpus or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise ValueError(f"gpus is {gpus}: give a part of one, or a whole number.")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries}: give 0 or more.")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the estimate of the cost starts from.

    Attributes:
        gflops_per_second: Rate at which one device (a GPU, or the cores of a run) computes
            updates; None estimates no time.
    """

    gflops_per_second: float | None = None

    def __post_init__(self) -> None:
        """Refuses a rate that is none."""
        if self.gflops_per_second is not None and self.gflops_per_second <= 0:
            raise ValueError(f"gflops_per_second is {self.gflops_per_second}: give more than 0.")


@dataclasses.dataclass(frozen=True)
class Spec:
    """A sweep: every task with every method, setting and seed.

    Attributes:
        tasks: Names of floq's tasks.
        methods: The algorithms with their settings.
        seeds: The seeds.
        seeds_per_run: Seeds that train side by side in one program, and in one run directory.
        steps: Updates of each.
        schedule: What training does at which updates.
        resources: What a run takes.
        search: How searches go on; None where no method has one.
        cost: For the estimate.
    """

    tasks: tuple[str, ...]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    seeds_per_run: int
    steps: int
    schedule: Schedule
    resources: Resources
    search: Search | None
    cost: Cost

    @property
    def packs(self) -> list[tuple[int, ...]]:
        """The seeds of each run."""
        size = self.seeds_per_run
        return [self.seeds[start : start + size] for start in range(0, len(self.seeds), size)]


@dataclasses.dataclass(frozen=True)
class _Document:
    """The keys of the file."""

    tasks: tuple[str, ...]
    algorithms: Any
    steps: int
    seeds: tuple[int, ...] = (0,)
    seeds_per_run: int = 1
    schedule: Any = dataclasses.field(default_factory=dict)
    resources: Any = dataclasses.field(default_factory=dict)
    search: Any = None
    cost: Any = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _MethodTable:
    """The keys of a table `[algorithms.LABEL]`."""

    preset: str | None = None
    settings: Any = dataclasses.field(default_factory=dict)
    grid: Any = dataclasses.field(default_factory=dict)
    search: Any = dataclasses.field(default_factory=dict)


def read_spec(path: str | Path) -> Spec:
    """A sweep from its file.

    Args:
        path: A TOML file; docs/guides/sweeps.md lists its keys.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says something that cannot be; the message names key, value and way out.
    """
    path = user_path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file. Give the TOML file of a sweep.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    document = _read(_Document, content, str(path))
    methods = tuple(
        _method(label, table, f"{path}: algorithms.{label}")
        for label, table in _table(document.algorithms, f"{path}: algorithms").items()
    )
    if not methods:
        raise ValueError(f"{path}: algorithms is empty: add a table such as [algorithms.floq].")
    searched = [method.label for method in methods if method.space]
    if searched and document.search is None:
        raise ValueError(
            f"{path}: algorithms.{searched[0]}.search is given, but there is no table [search]: "
            "add one that says how many trials to run."
        )
    search = None
    if document.search is not None:
        search = _read(Search, document.search, f"{path}: search")
        if not searched:
            raise ValueError(
                f"{path}: there is a table [search], but no algorithm has anything to search: add "
                f"a table such as [algorithms.{methods[0].label}.search]."
            )
    _check_seeds(document, path)
    if document.steps < 1:
        raise ValueError(f"{path}: steps is {document.steps}: give 1 or more.")
    return Spec(
        tasks=_tasks(document.tasks, f"{path}: tasks"),
        methods=methods,
        seeds=document.seeds,
        seeds_per_run=document.seeds_per_run,
        steps=document.steps,
        schedule=_read(Schedule, document.schedule, f"{path}: schedule"),
        resources=_read(Resources, document.resources, f"{path}: resources"),
        search=search,
        cost=_read(Cost, document.cost, f"{path}: cost"),
    )


def _read(kind: type[Part], given: Any, name: str) -> Part:
    """A part of the file; keys that have a default may be absent."""
    defaults = {}
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    known = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for key in _table(given, name):
        if key not in known:
            raise ValueError(f"{name} has no key {key!r}: {nearest(key, known)}")
    return from_json(kind, defaults | given, name=name)


def _table(given: Any, name: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{name} is {given!r}: it must be a table, as [table] begins one.")
    return given


def _tasks(patterns: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The tasks that the patterns name, in order, each once."""
    known = task_names()
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = fnmatch.filter(known, pattern)
        if not matches:
            raise ValueError(f"{name} has {pattern!r}: {unknown_task(pattern)}")
        found |= dict.fromkeys(matches)
    if not found:
        raise ValueError(f"{name} is empty: give one or more, such as {known[0]!r}.")
    return tuple(found)


def _check_seeds(document: _Document, path: Path) -> None:
    seeds = document.seeds
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise ValueError(
            f"{path}: seeds is {list(seeds)}: give one or more whole numbers from 0 to "
            f"{2**31 - 1}, all of them different."
        )
    if document.seeds_per_run < 1:
        raise ValueError(f"{path}: seeds_per_run is {document.seeds_per_run}: give 1 or more.")


def _method(label: str, given: Any, name: str) -> Method:
    if not _LABEL.fullmatch(label):
        raise ValueError(
            f"{name}: the name {label!r} cannot be part of a folder's name: use letters, digits "
            "and the signs _ . + -"
        )
    table = _read(_MethodTable, given, name)
    grid = flat(_table(table.grid, f"{name}.grid"))
    space = _space(_table(table.search, f"{name}.search"), f"{name}.search")
    settings = flat(_table(table.settings, f"{name}.settings"))
    if grid and space:
        raise ValueError(f"{name} has both grid and search: give one, or name a second algorithm.")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name}.grid.{key} is {values!r}: give a list of values to try.")
    for key in settings.keys() & (grid.keys() | space.keys()):
        raise ValueError(f"{name} both sets and varies {key}: leave one out.")
    return Method(
        label,
        table.preset or label,
        settings,
        {key: tuple(values) for key, values in grid.items()},
        space,
    )


def _space(tables: Mapping[str, Any], name: str, prefix: str = "") -> dict[str, Choices | Range]:
    """The searched settings by dotted name; a table is one if it has choices or an end."""
    space: dict[str, Choices | Range] = {}
    for key, given in tables.items():
        full = f"{name}.{key}"
        table = _table(given, full)
        if "choices" in table:
            space[prefix + key] = _read(Choices, table, full)
        elif table.keys() & {"low", "high", "log"}:
            space[prefix + key] = _read(Range, table, full)
        elif table:
            space |= _space(table, full, f"{prefix}{key}.")
        else:
            raise ValueError(f"{full} is empty: give choices = [...], or low and high.")
    return space
