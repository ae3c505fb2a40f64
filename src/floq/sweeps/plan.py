"""The runs of a sweep, and how far each has come: only the run directories know."""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from floq.algorithms import algorithm_of
from floq.data.goals import Goals
from floq.presets.methods import find_preset
from floq.runs.checkpoint import checkpoint_paths, step_of
from floq.runs.directory import CONFIG, read_config
from floq.runs.results import has_last_rows
from floq.runs.settings import Schedule
from floq.runs.versions import differences
from floq.settings import to_json
from floq.sweeps.own_data import OwnData
from floq.sweeps.settings import flat, replace_settings, setting, spelled
from floq.sweeps.spec import Method, Spec
from floq.tasks import goal_task_names

_LONGEST_NAME = 200


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run directory of a sweep.

    Attributes:
        name: The directory's name, which follows from everything that varies.
        task: The task, or the name of data of one's own.
        label: The method.
        algorithm: What the method's config belongs to.
        trial: Number in its search; None in a grid.
        varied: The settings that the spec varies, by dotted name.
        config: All settings.
        seeds: Seeds that train side by side.
        steps: Updates in all.
        schedule: What training does at which updates.
        data: The data of one's own that `task` names, if it does.
        reward: The task's own rewards, or sparse ones.
        goals: Where goals come from, if the task is to reach them.
    """

    name: str
    task: str
    label: str
    algorithm: str
    trial: int | None
    varied: Mapping[str, Any]
    config: Any
    seeds: tuple[int, ...]
    steps: int
    schedule: Schedule
    data: OwnData | None = None
    reward: str = "dense"
    goals: Goals | None = None

    @property
    def shown_task(self) -> str:
        """The task in tables: with sparse rewards it is another one, of other figures."""
        return f"{self.task} (sparse)" if self.reward == "sparse" else self.task


class Standing(NamedTuple):
    """How far a run has come.

    Attributes:
        begun: Whether there is anything of it.
        step: Updates that are saved.
        finished: Whether all of them are, with all rows that belong to the last one.
    """

    begun: bool
    step: int
    finished: bool


def grid_runs(spec: Spec) -> list[PlannedRun]:
    """The runs of all methods that have no search, in the order of the spec.

    Raises:
        ValueError: If a setting is unknown or a value is out of its range.
    """
    return [
        run
        for task in spec.tasks
        for method in spec.methods
        if not method.space
        for values in itertools.product(*method.grid.values())
        for run in runs_of(spec, task, method, dict(zip(method.grid, values, strict=True)))
    ]


def runs_of(
    spec: Spec, task: str, method: Method, varied: Mapping[str, Any], *, trial: int | None = None
) -> list[PlannedRun]:
    """One run for each pack of seeds, with these values of the settings that vary.

    Raises:
        ValueError: If a setting is unknown or a value is out of its range.
    """
    config = method_config(spec.known_task(task), method, varied)
    name, _ = algorithm_of(config)
    if trial is None:
        marks = [f"{key}={spelled(value)}" for key, value in varied.items()]
    else:
        marks = [f"trial{trial:04d}"]
    typed = {key: setting(config, key) for key in varied}
    return [
        PlannedRun(
            name=_name([task, method.label, *marks, _seeds_mark(seeds)]),
            task=task,
            label=method.label,
            algorithm=name,
            trial=trial,
            varied=typed,
            config=config,
            seeds=seeds,
            steps=spec.steps,
            schedule=spec.schedule,
            data=spec.data.get(task),
            reward=spec.reward,
            goals=spec.goals if task in goal_task_names() else None,
        )
        for seeds in spec.packs
    ]


def method_config(task: str | None, method: Method, varied: Mapping[str, Any]) -> Any:
    """A method's settings for a task; for data of one's own where it is None.

    Raises:
        ValueError: If a setting is unknown or a value is out of its range.
    """
    try:
        published = find_preset(method.preset, task).config
    except ValueError as error:
        raise ValueError(f"algorithms.{method.label}: {error}") from error
    part = "search" if method.space else "grid"
    config = replace_settings(
        published, method.settings, name=f"settings of algorithms.{method.label}"
    )
    return replace_settings(config, varied, name=f"algorithms.{method.label}.{part}")


def standing(directory: Path, run: PlannedRun) -> Standing:
    """How far a run has come, from its folder in the sweep's directory.

    Raises:
        ValueError: If the folder holds a run of other settings, or a file is not sound.
    """
    path = directory / run.name
    if not (path / CONFIG).exists():
        return Standing(False, 0, False)
    _refuse_another(path, run)
    saved = checkpoint_paths(path / "checkpoints")
    step = step_of(saved[-1]) if saved else 0
    whole = step == run.steps and has_last_rows(path, read_config(path))
    return Standing(True, step, whole)


def _refuse_another(path: Path, run: PlannedRun) -> None:
    """Raises an error if a folder's run is not the planned one."""
    found = read_config(path)
    had = _identity(found.algorithm, found.config, found.task, found.seeds, found.schedule)
    task = None if run.data else run.task
    wanted = _identity(run.algorithm, run.config, task, run.seeds, run.schedule)
    if run.data is not None:
        had, wanted = had | run.data.identity_of(found), wanted | run.data.identity
    else:
        kwargs = found.environment.kwargs if found.environment else {}
        had |= flat({"reward": kwargs.get("reward", "dense"), "goals": to_json(found.goals)})
        wanted |= flat({"reward": run.reward, "goals": to_json(run.goals)})
    changes = differences(had, wanted)
    if found.steps > run.steps:
        changes.append(f"steps was {found.steps}, is {run.steps} (only more can be asked for)")
    if changes:
        raise ValueError(
            f"{path} was started with other settings than the spec has now: {'; '.join(changes)}. "
            "Give the sweep another --directory, or undo the change; another name under "
            "[algorithms] starts new runs beside the old ones."
        )


def _identity(
    algorithm: str, config: Any, task: str | None, seeds: Sequence[int], schedule: Schedule
) -> dict[str, Any]:
    parts = {"config": to_json(config), "schedule": to_json(schedule)}
    return {"algorithm": algorithm, "task": task, "seeds": list(seeds), **flat(parts)}


def _seeds_mark(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds{seeds[0]}to{seeds[-1]}"
    return f"seed{'s' if len(seeds) > 1 else ''}{'and'.join(map(str, seeds))}"


def _name(marks: Sequence[str]) -> str:
    """A folder's name, which says all it can."""
    whole = "-".join(mark.replace("/", "_") for mark in marks)
    if len(whole) <= _LONGEST_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"{whole[: _LONGEST_NAME - len(digest) - 1]}-{digest}"
