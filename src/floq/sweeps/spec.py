"""The specification of a sweep: a short TOML file, checked before anything starts."""

import dataclasses
import fnmatch
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from floq.data.goals import Goals
from floq.disk import user_path
from floq.runs.settings import Schedule
from floq.settings import check_not_negative, check_positive, normalise
from floq.sweeps.own_data import OwnData, read_own_data
from floq.sweeps.settings import as_table, check_label, flat, read_part
from floq.tasks import GOALS_OF_A_TASK, goal_task_names, task_names, unknown_task


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
        settings: What replaces them, by dotted name: those of all methods, and its own.
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
        normalise(self)
        check_positive(self, "trials", "parallel")
        check_not_negative(self, "seed")


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
        check_not_negative(self, "retries")


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
        tasks: Names of floq's tasks, of datasets whose goals are the task, and of `data`.
        data: Data of one's own, by the names that stand among the tasks.
        reward: The tasks' own rewards, or sparse ones, as in `floq.load_task`.
        goals: Where goals come from, on tasks that are to reach them.
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
    data: Mapping[str, OwnData]
    reward: Literal["dense", "sparse"]
    goals: Goals
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

    def known_task(self, task: str) -> str | None:
        """The task whose published settings are the start; None for data of one's own."""
        return None if task in self.data else task


@dataclasses.dataclass(frozen=True)
class _Document:
    """The keys of the file."""

    tasks: tuple[str, ...]
    algorithms: Any
    steps: int
    seeds: tuple[int, ...] = (0,)
    seeds_per_run: int = 1
    settings: Any = dataclasses.field(default_factory=dict)
    reward: Literal["dense", "sparse"] = "dense"
    goals: Any = None
    data: Any = dataclasses.field(default_factory=dict)
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
    except (FileNotFoundError, IsADirectoryError) as error:
        found = "it is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {found}. Give the TOML file of a sweep.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    document = read_part(_Document, content, str(path))
    shared = flat(as_table(document.settings, f"{path}: settings"))
    methods = tuple(
        _method(label, table, f"{path}: algorithms.{label}", shared=shared)
        for label, table in as_table(document.algorithms, f"{path}: algorithms").items()
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
        search = read_part(Search, document.search, f"{path}: search")
        if not searched:
            raise ValueError(
                f"{path}: there is a table [search], but no algorithm has anything to search: add "
                f"a table such as [algorithms.{methods[0].label}.search]."
            )
    _check_seeds(document, path)
    if document.steps < 1:
        raise ValueError(f"{path}: steps is {document.steps}: give 1 or more.")
    data = {
        name: read_own_data(name, table, f"{path}: data.{name}")
        for name, table in as_table(document.data, f"{path}: data").items()
    }
    schedule = read_part(Schedule, document.schedule, f"{path}: schedule")
    for name, own in data.items():
        _check_own(f"{path}: data.{name}", own, searched, schedule)
    tasks = _tasks(document.tasks, list(data), str(path), has_goals=document.goals is not None)
    goals = read_part(Goals, document.goals or {}, f"{path}: goals")
    _check_rewards(document, tasks, schedule, path)
    return Spec(
        tasks=tasks,
        data=data,
        reward=document.reward,
        goals=goals,
        methods=methods,
        seeds=document.seeds,
        seeds_per_run=document.seeds_per_run,
        steps=document.steps,
        schedule=schedule,
        resources=read_part(Resources, document.resources, f"{path}: resources"),
        search=search,
        cost=read_part(Cost, document.cost, f"{path}: cost"),
    )


def _tasks(
    patterns: tuple[str, ...], own: list[str], path: str, *, has_goals: bool
) -> tuple[str, ...]:
    """The tasks that the patterns name, in order, each once."""
    known = [*task_names(), *(goal_task_names() if has_goals else ()), *own]
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = fnmatch.filter(known, pattern)
        if not matches:
            hint = f" [data] has {', '.join(own)}." if own else ""
            raise ValueError(f"{path}: tasks has {pattern!r}: {unknown_task(pattern)}{hint}")
        found |= dict.fromkeys(matches)
    if not found:
        raise ValueError(f"{path}: tasks is empty: give one or more, such as {known[0]!r}.")
    for name in own:
        if name not in found:
            raise ValueError(
                f"{path}: data.{name} is in no tasks: add {name!r} to them, or leave it out."
            )
    return tuple(found)


def _check_own(name: str, own: OwnData, searched: list[str], schedule: Schedule) -> None:
    """Refuses what needs an environment where there is none."""
    if own.env is None and searched:
        raise ValueError(
            f"{name} has no env, so that algorithms.{searched[0]}.search could not tell trials "
            'apart: give one, such as env = "Pendulum-v1".'
        )
    if own.env is None and schedule.evaluate_bc:
        raise ValueError(f"{name} has no env, and schedule.evaluate_bc is true: give one.")


def _check_rewards(
    document: _Document, tasks: tuple[str, ...], schedule: Schedule, path: Path
) -> None:
    """Refuses sparse rewards where there are no dense ones, and goals that nobody pursues."""
    pursued = [task for task in tasks if task in goal_task_names()]
    without = [*pursued, *(task for task in tasks if task in document.data)]
    if document.reward == "sparse" and without:
        raise ValueError(
            f"{path}: reward is 'sparse', and {without[0]} has no rewards of OGBench's: sweep it "
            "by a file of its own, without the key."
        )
    if document.goals is not None and not pursued:
        raise ValueError(
            f"{path}: there is a table [goals], and no task is to reach any: name a dataset among "
            f"the tasks, such as {goal_task_names()[0]!r}, or leave the table out."
        )
    if pursued and schedule.evaluation_episodes % GOALS_OF_A_TASK:
        raise ValueError(
            f"{path}: schedule.evaluation_episodes is {schedule.evaluation_episodes}, and the "
            f"{GOALS_OF_A_TASK} goals of {pursued[0]} take turns: give a multiple of "
            f"{GOALS_OF_A_TASK}, so that each counts alike."
        )


def _check_seeds(document: _Document, path: Path) -> None:
    seeds = document.seeds
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise ValueError(
            f"{path}: seeds is {list(seeds)}: give one or more whole numbers from 0 to "
            f"{2**31 - 1}, all of them different."
        )
    if document.seeds_per_run < 1:
        raise ValueError(f"{path}: seeds_per_run is {document.seeds_per_run}: give 1 or more.")


def _method(label: str, given: Any, name: str, *, shared: Mapping[str, Any]) -> Method:
    check_label(label, name)
    table = read_part(_MethodTable, given, name)
    grid = flat(as_table(table.grid, f"{name}.grid"))
    space = _space(as_table(table.search, f"{name}.search"), f"{name}.search")
    settings = flat(as_table(table.settings, f"{name}.settings"))
    if grid and space:
        raise ValueError(f"{name} has both grid and search: give one, or name a second algorithm.")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name}.grid.{key} is {values!r}: give a list of values to try.")
    for key in settings.keys() & (grid.keys() | space.keys()):
        raise ValueError(f"{name} both sets and varies {key}: leave one out.")
    shared = {key: value for key, value in shared.items() if key not in grid.keys() | space.keys()}
    return Method(
        label,
        table.preset or label,
        {**shared, **settings},
        {key: tuple(values) for key, values in grid.items()},
        space,
    )


def _space(tables: Mapping[str, Any], name: str, prefix: str = "") -> dict[str, Choices | Range]:
    """The searched settings by dotted name; a table is one if it has choices or an end."""
    space: dict[str, Choices | Range] = {}
    for key, given in tables.items():
        full = f"{name}.{key}"
        table = as_table(given, full)
        if "choices" in table:
            space[prefix + key] = read_part(Choices, table, full)
        elif table.keys() & {"low", "high", "log"}:
            space[prefix + key] = read_part(Range, table, full)
        elif table:
            space |= _space(table, full, f"{prefix}{key}.")
        else:
            raise ValueError(f"{full} is empty: give choices = [...], or low and high.")
    return space
