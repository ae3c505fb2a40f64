"""What there is to do: data to collect and runs to train, and how each of them goes on."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from floq.algorithms.common import TDConfig
from floq.data.dataset import Dataset
from floq.data.generation import generate
from floq.data.paths import dataset_files, dataset_name
from floq.disk import read_json
from floq.presets.methods import preset, small
from floq.runs.directory import METRICS, TIMINGS, read_config, read_rows
from floq.runs.results import results
from floq.tasks import load_task
from floq.training import Run, Schedule, load_run, resume, train


@dataclasses.dataclass(frozen=True)
class Data:
    """A dataset to collect.

    Attributes:
        dataset: Its name.
    """

    dataset: str

    @property
    def name(self) -> str:
        """What the job is called."""
        return f"data-{self.dataset.removesuffix('-v0')}"


@dataclasses.dataclass(frozen=True)
class Training:
    """A run to train, all its seeds in one program.

    Attributes:
        task: The task, with its number.
        method: A method with presets.
        integration_steps: K of a flow critic, if not the preset's.
    """

    task: str
    method: str
    integration_steps: int | None = None

    @property
    def name(self) -> str:
        """What the job is called."""
        task = self.task.removesuffix("-v0").replace("-singletask", "")
        steps = "" if self.integration_steps is None else f"-k{self.integration_steps}"
        return f"{task}-{self.method}{steps}"


Job = Data | Training


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all jobs share.

    Attributes:
        directory: Folder of the data and the runs.
        seeds: Seeds of every run.
        updates: Updates of each seed.
        episodes: Training trajectories of a dataset, which gets a tenth for validation.
        evaluation_episodes: Episodes of an evaluation, for each seed.
        evaluation_interval: Updates between evaluations.
        precision: Precision of matrix products, in JAX's words; None takes tensorfloat32 on a GPU
            and JAX's own default elsewhere.
        small: Whether networks and batches are tiny, to try everything on a CPU.
    """

    directory: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    updates: int = 1_000_000
    episodes: int = 1_000
    evaluation_episodes: int = 50
    evaluation_interval: int = 100_000
    precision: str | None = None
    small: bool = False

    @property
    def data(self) -> Path:
        """Folder of the datasets."""
        return self.directory / "data"

    def run(self, job: Training) -> Path:
        """Folder of a run."""
        return self.directory / "runs" / job.name

    def wanted(self) -> dict[str, Any]:
        """What decides the figures of a run beside its job, JSON-able."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name != "directory"} | {
            "seeds": list(self.seeds)
        }


def config_of(job: Training, settings: Settings) -> TDConfig:
    """The settings of the algorithm: the task's preset, with the job's K."""
    config = preset(job.method, job.task)
    if job.integration_steps is not None:
        critic = dataclasses.replace(config.critic, integration_steps=job.integration_steps)
        config = dataclasses.replace(config, critic=critic)
    if settings.small:
        config = dataclasses.replace(small(config, width=16, depth=2), batch_size=16)
    return config


def recorded_run(job: Training, settings: Settings) -> Run | None:
    """The run with its files, but without its state; None if it has none that can be read."""
    try:
        return _readable(settings.run(job))
    except (KeyError, OSError, ValueError):
        return None


def is_done(job: Job, settings: Settings) -> bool:
    """Whether nothing of the job is left to do."""
    if isinstance(job, Data):
        files = dataset_files(job.dataset, directory=settings.data)
        try:
            made = read_json(files[0].with_suffix(".json"))
            return all(file.exists() for file in files) and made["episodes"] == settings.episodes
        except (KeyError, OSError, TypeError, ValueError):
            return False
    run = recorded_run(job, settings)
    if run is None or run.config.seeds != settings.seeds:
        return False
    found = results(run).get(run.config.algorithm, [])
    return bool(found) and found[-1].step >= settings.updates


def work(job: Job, settings: Settings) -> None:
    """Goes on with a job to its end.

    Raises:
        Interrupted: If a signal asked a training to stop; everything is saved.
        ValueError: If what an earlier call began has other settings than these.
    """
    if isinstance(job, Data):
        _collect(job.dataset, settings)
        return
    path = settings.run(job)
    dataset = _sound_dataset(job.task, settings)
    config = config_of(job, settings)
    set_aside_if_damaged(path)
    if (path / "config.json").exists():
        begun = read_config(path)
        if (begun.config, begun.seeds) != (config, settings.seeds):
            raise ValueError(
                f"{path} was begun with the seeds {begun.seeds} and {begun.config}, not with "
                f"{settings.seeds} and {config}: give another --directory."
            )
        resume(path, dataset=dataset, steps=settings.updates, progress=False)
        return
    interval = settings.evaluation_interval
    train(
        config,
        dataset,
        env=job.task,
        seeds=settings.seeds,
        steps=settings.updates,
        directory=path,
        schedule=Schedule(
            log_interval=min(5_000, interval),
            evaluation_interval=interval,
            evaluation_episodes=settings.evaluation_episodes,
            checkpoint_interval=min(25_000, interval),
        ),
        progress=False,
    )


def set_aside_if_damaged(path: Path) -> None:
    """Renames a run that nothing can go on from, so that it starts anew; nothing is deleted."""
    try:
        _readable(path)
        load_run(path)
    except FileNotFoundError:
        # Not begun, or stopped before its first checkpoint: it can go on.
        return
    except (KeyError, RuntimeError, ValueError) as error:
        _set_aside(path, error)


def _readable(path: Path) -> Run:
    """The run without its state, once all its rows are read."""
    run = Run(path, read_config(path), 0, None)
    for name in (METRICS, TIMINGS):
        read_rows(path / name)
    results(run)
    return run


def _sound_dataset(task: str, settings: Settings) -> Dataset:
    """The task's data, collected if need be, and anew if its file is damaged."""
    _collect(dataset_name(task), settings)
    try:
        dataset, env = load_task(task, directory=settings.data)
    except ValueError as error:
        for file in dataset_files(task, directory=settings.data):
            _set_aside(file, error)
        _collect(dataset_name(task), settings)
        dataset, env = load_task(task, directory=settings.data)
    env.close()
    return dataset


def _collect(dataset: str, settings: Settings) -> None:
    generate(
        dataset,
        episodes=settings.episodes,
        processes=os.cpu_count() or 1,
        seed=0,
        directory=settings.data,
        progress=False,
    )


def _set_aside(path: Path, reason: Exception) -> None:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    print(f"{reason}\n{path} starts anew; what there was is now {target}.", file=sys.stderr)
    path.rename(target)
