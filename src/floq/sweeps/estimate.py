"""What a sweep will cost, before anything of it is run."""

import dataclasses
from pathlib import Path
from typing import Any

from floq.algorithms.common import data_chunk, frames_of
from floq.compute import update_flops
from floq.data.goals import Goals
from floq.data.paths import dataset_name
from floq.observations import ObservationForm
from floq.sweeps.plan import standing
from floq.sweeps.queue import forecast
from floq.sweeps.settings import spelled
from floq.sweeps.spec import Spec
from floq.tasks import task_form, task_sizes
from floq.types import Statistics


@dataclasses.dataclass
class Estimate:
    """The cost of all runs that differ by task within a dataset, seed and trial alone.

    Attributes:
        dataset: The dataset of the tasks, or the name of data of one's own.
        algorithm: The method.
        settings: What a grid varies, in words.
        gflops: 10⁹ operations of one update of one seed.
        gflops_per_second: The rate that the spec states.
        runs: Run directories.
        left: Those that are not finished.
        seeds: Seeds in all runs.
        updates: Updates that are left, of all seeds.
    """

    dataset: str
    algorithm: str
    settings: str
    gflops: float
    gflops_per_second: float | None
    runs: int = 0
    left: int = 0
    seeds: int = 0
    updates: int = 0

    @property
    def total_gflops(self) -> float:
        """10⁹ operations that are left."""
        return self.gflops * self.updates

    @property
    def hours(self) -> float | None:
        """Hours of one device that are left, if a rate is stated."""
        if self.gflops_per_second is None:
            return None
        return self.total_gflops / self.gflops_per_second / 3600


def estimate(spec: Spec, directory: Path) -> list[Estimate]:
    """The cost of a sweep, part by part.

    A search is counted with the settings that it starts from.

    Args:
        spec: The sweep.
        directory: Its folder, which need not exist: what is done there costs nothing any more.

    Raises:
        ValueError: If a setting is not one, a folder holds a run of other settings, or a file of
            data of one's own, whose sizes it has, is not sound.
    """
    parts: dict[tuple[str, str, str], Estimate] = {}
    for run in forecast(spec, directory):
        varied = {} if run.trial is not None else run.varied
        settings = ", ".join(f"{key}={spelled(value)}" for key, value in varied.items())
        if run.trial is not None:
            settings = "search"
        key = run.task if run.data else dataset_name(run.task), run.label, settings
        if key not in parts:
            own = run.data and _flops(run.config, run.data.sizes, None)
            gflops = (own or task_flops(run.config, run.task, run.goals)) / 1e9
            parts[key] = Estimate(*key, gflops, spec.cost.gflops_per_second)
        part, found = parts[key], standing(directory, run)
        part.runs += 1
        part.left += not found.finished
        part.seeds += len(run.seeds)
        part.updates += (run.steps - found.step) * len(run.seeds)
    return list(parts.values())


def task_flops(config: Any, task: str, goals: Goals | None = None) -> float:
    """Floating-point operations of one update of one seed on a task, whose data need not be there.

    Raises:
        ValueError: If there is no such task, or an observation lacks a goal's entries.
    """
    observation_dim, action_dim = task_sizes(task)
    if goals is not None:
        goals.check_entries(observation_dim)
        observation_dim += goals.goal_dim(observation_dim)
    return _flops(config, (observation_dim, action_dim), task_form(task))


def _flops(config: Any, sizes: tuple[int, int], form: ObservationForm | None) -> float:
    observation_dim, action_dim = sizes
    # Any range of rewards: it is a constant in the program.
    frames = frames_of(config)
    form = form and form._replace(frames=frames)
    sizes = observation_dim * frames, action_dim * data_chunk(config)
    statistics = Statistics(*sizes, -1.0, 0.0, form)
    return update_flops(config, statistics)
