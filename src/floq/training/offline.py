"""Offline training: from a dataset to a policy, in a directory that survives kills."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium

from floq.algorithms import ALGORITHMS, algorithm_of
from floq.data.dataset import Dataset
from floq.envs.make import EnvironmentSpec, spec_of
from floq.tasks import load_task, task_names
from floq.training.checkpoint import newest_checkpoint, set_aside_after
from floq.training.loop import Loop
from floq.training.program import state_template
from floq.training.run import Run
from floq.training.run_directory import (
    RunConfig,
    RunDirectory,
    Schedule,
    read_config,
    refuse_existing,
)
from floq.training.signals import interruptions
from floq.types import Statistics

_LIMIT = 2**31


def train(
    config: Any,
    dataset: Dataset,
    *,
    directory: str | Path,
    env: gymnasium.Env | EnvironmentSpec | str | None = None,
    task: str | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    steps: int = 1_000_000,
    schedule: Schedule = Schedule(),
    processes: int | None = None,
    progress: bool = True,
) -> Run:
    """Trains a policy on a dataset.

    Ctrl-C or SIGTERM saves and raises `Interrupted`; `resume` then goes on, and ends with the
    same bits as if nothing had happened. The same holds after a kill.

    Args:
        config: The config of an algorithm, such as `floq.algorithms.floq.Config()`.
        dataset: The data.
        directory: A new folder for everything that the run leaves behind.
        env: Where to evaluate the policy; None does not evaluate.
        task: The floq task that the data belongs to, from which `resume` loads it again. Taken
            from `env` if that is a task's name.
        seed: Seed of the run.
        seeds: Several seeds, which train side by side in one program, in place of `seed`.
        steps: Updates in all.
        schedule: When to log, evaluate and save.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The run, with its state and policy.

    Raises:
        ValueError: If a setting is out of its range, or dataset and environment do not match.
        TypeError: If `config` belongs to no algorithm.
        FileExistsError: If the directory already holds a run.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
    """
    path = Path(directory)
    refuse_existing(path)
    name, algorithm = algorithm_of(config)
    seeds = (seed,) if seeds is None else tuple(seeds)
    _check_numbers(seeds, steps)
    if task is None and isinstance(env, str) and env in task_names():
        task = env
    if task is not None and task not in task_names():
        raise ValueError(
            f"task is {task!r}: give the name of one of floq's tasks, or leave it out."
        )
    if schedule.evaluate_bc and (env is None or not hasattr(algorithm, "act_behaviour")):
        reason = "there is no env" if env is None else f"{name} has no behaviour policy"
        raise ValueError(f"evaluate_bc is set, but {reason}: unset it.")
    fingerprint = dataset.fingerprint()
    dataset = as_decisions(dataset, config)
    statistics = dataset.statistics
    spec = None if env is None else spec_of(env)
    if spec is not None:
        _check_environment(spec, statistics, config.action_chunk)
    run_config = RunConfig(
        algorithm=name,
        config=config,
        task=task,
        environment=spec,
        seeds=seeds,
        steps=steps,
        schedule=schedule,
        fingerprint=fingerprint,
        statistics=statistics,
    )
    # From here on a signal saves: also one that comes before the first update is compiled.
    with interruptions(), RunDirectory.create(path, run_config) as files:
        return Loop(files, run_config, dataset, processes=processes).run(progress=progress)


def resume(
    directory: str | Path,
    *,
    dataset: Dataset | None = None,
    steps: int | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Run:
    """Goes on with a run from its newest intact checkpoint, to the same bits as an uncut run.

    Args:
        directory: The run.
        dataset: Its data; by default that of the run's task is loaded.
        steps: Updates in all, if not those that the run was started with.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The run. If it was finished before, nothing is done.

    Raises:
        FileNotFoundError: If there is no run, or its task's data is not there.
        RuntimeError: If all its checkpoints are damaged, or another process is at work in it.
        ValueError: If the dataset is another one, `steps` lie behind, or a file is not sound.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
    """
    path = Path(directory)
    config = read_config(path)
    if steps is not None:
        _check_numbers(config.seeds, steps)
        config = config._replace(steps=steps)
    template = state_template(
        ALGORITHMS[config.algorithm], config.config, config.statistics, config.seeds
    )
    with interruptions(), RunDirectory(path) as files:
        checkpoint = newest_checkpoint(files.checkpoints, template)
        step = 0 if checkpoint is None else checkpoint.step
        if step > config.steps:
            raise ValueError(f"{path} is at step {step}, so steps cannot be {config.steps}.")
        done = files.rewind(config.rows_per_step, step)
        if checkpoint is not None and step == config.steps and done == config.rows_per_step.keys():
            print(f"{path} is finished: all {step:,} updates are done.")
            return Run(path, config, step, checkpoint.state)
        dataset = as_decisions(verified_dataset(path, config, dataset), config.config)
        files.check_versions(step)
        files.write_config(config)
        if checkpoint is not None:
            set_aside_after(checkpoint)
        print(f"{path} goes on at step {step:,} of {config.steps:,}.")
        loop = Loop(files, config, dataset, checkpoint=checkpoint, done=done, processes=processes)
        return loop.run(progress=progress)


def _check_numbers(seeds: Sequence[int], steps: int) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {tuple(seeds)}: give one or more, all of them different.")
    if min(seeds) < 0 or max(seeds) >= _LIMIT:
        raise ValueError(f"seeds are {tuple(seeds)}: give whole numbers from 0 to {_LIMIT - 1}.")
    if not 1 <= steps < _LIMIT:
        raise ValueError(f"steps is {steps}: give a whole number from 1 to {_LIMIT - 1}.")


def as_decisions(dataset: Dataset, config: Any) -> Dataset:
    """The dataset with one transition for each decision of the algorithm."""
    if config.action_chunk == config.n_step == 1:
        return dataset
    return dataset.with_decisions(
        action_chunk=config.action_chunk, n_step=config.n_step, discount=config.discount
    )


def _check_environment(spec: EnvironmentSpec, statistics: Statistics, action_chunk: int) -> None:
    """Refuses an environment that the dataset cannot come from."""
    env = spec.make()
    try:
        shapes = env.observation_space.shape, env.action_space.shape
    finally:
        env.close()
    expected = (statistics.observation_dim,), (statistics.action_dim // action_chunk,)
    if shapes != expected:
        raise ValueError(
            f"The environment {spec.id} has observations and actions of shapes {shapes}, the "
            f"dataset has {expected}: give the environment that the data was collected in."
        )


def verified_dataset(
    path: Path, config: RunConfig, dataset: Dataset | None, *, directory: Path | None = None
) -> Dataset:
    """The run's dataset, and no other.

    Args:
        path: The run.
        config: What its `config.json` says.
        dataset: The data; that of the run's task by default.
        directory: Folder of the task's dataset files; the usual one by default.

    Raises:
        FileNotFoundError: If the task's data file is not there.
        ValueError: If the run has no task and no dataset is given, or it is another one.
    """
    if dataset is None:
        if config.task is None:
            raise ValueError(
                f"{path} was not started from one of floq's tasks: give its data as `dataset`."
            )
        dataset, env = load_task(config.task, directory=directory)
        env.close()
    fingerprint = dataset.fingerprint()
    if fingerprint != config.fingerprint:
        raise ValueError(
            f"{path} was trained on another dataset: its fingerprint is {config.fingerprint}, that "
            f"of the data given now is {fingerprint}. Find the former data, or train anew."
        )
    return dataset
