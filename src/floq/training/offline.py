"""Training: from a dataset, an environment or both to a policy, in a directory that survives."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import gymnasium

from floq.algorithms import ALGORITHMS, algorithm_of
from floq.data.dataset import Dataset
from floq.disk import user_path
from floq.envs.make import EnvironmentSpec, spec_of
from floq.evaluation import Evaluator
from floq.tasks import task_names
from floq.training.checkpoint import Checkpoint, newest_checkpoint, set_aside_after
from floq.training.configuration import to_json
from floq.training.files import json_bytes
from floq.training.hosts import check_agreement, on_first
from floq.training.loop import Loop
from floq.training.online import OnlinePhase
from floq.training.phases import OfflinePhase
from floq.training.preparation import (
    as_decisions,
    check_devices,
    check_environment,
    check_numbers,
    check_online,
    statistics_of,
    verified_dataset,
)
from floq.training.program import initial_state, state_template
from floq.training.progress import ProgressDisplay
from floq.training.run import Run
from floq.training.run_directory import (
    Online,
    RunConfig,
    RunDirectory,
    Schedule,
    read_config,
    refuse_existing,
)
from floq.training.signals import interruptions


def train(
    config: Any,
    dataset: Dataset | None,
    *,
    directory: str | Path,
    env: gymnasium.Env | EnvironmentSpec | str | None = None,
    task: str | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    steps: int = 1_000_000,
    online: Online | None = None,
    reward_range: tuple[float, float] | None = None,
    schedule: Schedule = Schedule(),
    processes: int | None = None,
    progress: bool = True,
) -> Run:
    """Trains a policy: on a dataset, then in the environment if it is told to.

    Ctrl-C, SIGTERM or SIGHUP saves and raises `Interrupted`; `resume` then goes on, and ends with
    the same bits as if nothing had happened. The same holds after a kill.

    All devices that jax sees are used, as `floq.training.devices` says; in several processes that
    have joined (see `floq.training.hosts`), each makes the same call.

    Args:
        config: The config of an algorithm, such as `floq.algorithms.floq.Config()`.
        dataset: The data; None learns from online transitions alone.
        directory: A new folder for everything that the run leaves behind.
        env: Where to evaluate the policy, and to train online; None does neither.
        task: The floq task that the data belongs to, from which `resume` loads it again. Taken
            from `env` if that is a task's name.
        seed: Seed of the run.
        seeds: Several seeds, which train side by side in one program, in place of `seed`.
        steps: Updates on the dataset alone; 0 starts in the environment at once.
        online: What follows in the environment; None ends with the dataset.
        reward_range: Least and greatest reward of a single step, which set noise interval and
            histogram; by default those of the dataset. Needed where there is none.
        schedule: When to log, evaluate and save.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The run, with its state and policy.

    Raises:
        ValueError: If a setting is out of its range, dataset and environment do not match, or
            devices cannot share a batch evenly.
        TypeError: If `config` belongs to no algorithm.
        FileExistsError: If the directory already holds a run.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
    """
    path = user_path(directory)
    refuse_existing(path)
    name, algorithm = algorithm_of(config)
    seeds = (seed,) if seeds is None else tuple(seeds)
    spec = None if env is None else spec_of(env)
    check_numbers(seeds, steps, online)
    check_online(config, online, spec, has_data=dataset is not None, offline_steps=steps)
    check_devices(config, seeds, online, offline_steps=steps)
    if task is None and isinstance(env, str) and env in task_names():
        task = env
    if task is not None and task not in task_names():
        raise ValueError(
            f"task is {task!r}: give the name of one of floq's tasks, or leave it out."
        )
    if schedule.evaluate_bc and (env is None or not hasattr(algorithm, "act_behaviour")):
        reason = "there is no env" if env is None else f"{name} has no behaviour policy"
        raise ValueError(f"evaluate_bc is set, but {reason}: unset it.")
    fingerprint = None if dataset is None else dataset.fingerprint()
    dataset = None if dataset is None else as_decisions(dataset, config)
    statistics = statistics_of(config, dataset, spec, reward_range)
    if spec is not None:
        check_environment(spec, statistics, config.action_chunk)
    run_config = RunConfig(
        algorithm=name,
        config=config,
        task=task,
        environment=spec,
        seeds=seeds,
        steps=steps,
        online=online,
        schedule=schedule,
        fingerprint=fingerprint,
        statistics=statistics,
    )
    # From here on a signal saves: also one that comes before the first update is compiled.
    check_agreement(json_bytes(to_json(run_config)), what="settings or data")
    with interruptions(), _open(lambda: RunDirectory.create(path, run_config), path) as files:
        return go_through_phases(files, run_config, dataset, processes=processes, progress=progress)


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
        steps: Steps in all, offline updates and environment steps together, if not those that the
            run was started with.
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
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
    """
    path = user_path(directory)
    config = read_config(path)
    if steps is not None:
        config = _extended(path, config, steps)
    check_devices(config.config, config.seeds, config.online, offline_steps=config.steps)
    check_agreement(json_bytes(to_json(config)), what="settings")
    template = state_template(
        ALGORITHMS[config.algorithm], config.config, config.statistics, config.seeds
    )
    with interruptions(), _open(lambda: RunDirectory(path), path) as files:
        checkpoint = newest_checkpoint(files.checkpoints, template, with_rows=True)
        step = 0 if checkpoint is None else checkpoint.step
        check_agreement(str(step).encode(), what="checkpoints")
        if step > config.total_steps:
            raise ValueError(f"{path} is at step {step}, so steps cannot be {config.total_steps}.")
        done = files.rewind(config.rows_per_step, step)
        is_last = step == config.total_steps and done == config.rows_per_step.keys()
        if checkpoint is not None and is_last:
            unit = "steps" if config.online else "updates"
            files.say(f"{path} is finished: all {step:,} {unit} are done.")
            return Run(path, config, step, checkpoint.state)
        if config.fingerprint is not None:
            dataset = as_decisions(verified_dataset(path, config, dataset), config.config)
        files.check_versions(step)
        files.write_config(config)
        if checkpoint is not None and files.writes:
            set_aside_after(checkpoint)
        files.say(f"{path} goes on at step {step:,} of {config.total_steps:,}.")
        return go_through_phases(
            files,
            config,
            dataset,
            checkpoint=checkpoint,
            done=done,
            processes=processes,
            progress=progress,
        )


def go_through_phases(
    files: RunDirectory,
    config: RunConfig,
    dataset: Dataset | None,
    *,
    checkpoint: Checkpoint | None = None,
    done: Collection[str] = (),
    processes: int | None,
    progress: bool,
) -> Run:
    """Goes through what is left of a run's phases, offline and online.

    Args:
        files: The run's directory.
        config: What to do.
        dataset: The data, one transition for each decision; None if none is needed any more.
        checkpoint: Where to go on; None starts.
        done: Files that have their rows of the checkpoint's step already.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The finished run.

    Raises:
        ValueError: If there is neither a checkpoint nor the data to come to one.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
    """
    if checkpoint is None and config.steps and dataset is None:
        raise ValueError(
            f"{files.path} has lost the checkpoint that it began with: fine-tune the former run "
            "again, in another directory."
        )
    evaluator = None
    if config.environment is not None and files.writes:
        evaluator = Evaluator(config.environment, processes=processes)
    start = 0 if checkpoint is None else checkpoint.step
    with (
        evaluator or contextlib.nullcontext(),
        ProgressDisplay(config.total_steps, start=start, bar=progress and files.writes) as display,
        interruptions() as stop,
    ):
        state = None if checkpoint is None else checkpoint.state
        if checkpoint is None or not checkpoint.is_online:
            if config.steps and dataset is not None:
                phase = OfflinePhase(config, dataset, checkpoint)
                is_saved = checkpoint is not None
                loop = Loop(files, config, phase, evaluator, done=done, is_saved=is_saved)
                loop.run(display, stop)
                state, done = phase.state(), config.rows_per_step
            checkpoint = None
        if config.online is not None:
            if state is None:
                algorithm = ALGORITHMS[config.algorithm]
                state = initial_state(algorithm, config.config, config.statistics, config.seeds)
            with OnlinePhase(
                files,
                config,
                None if config.online.buffer == "online" else dataset,
                state,
                checkpoint=checkpoint,
                processes=processes,
                should_stop=stop,
            ) as phase:
                is_saved = checkpoint is not None or config.steps > 0
                loop = Loop(files, config, phase, evaluator, done=done, is_saved=is_saved)
                loop.run(display, stop)
                state = phase.state()
    return Run(files.path, config, config.total_steps, state)


def _open(take: Callable[[], RunDirectory], path: Path) -> RunDirectory:
    """The run's directory as `take` gives it, or, beside the process that writes, to read only."""
    return on_first(take) or RunDirectory(path, writes=False)


def _extended(path: Path, config: RunConfig, steps: int) -> RunConfig:
    """The config with other steps in all."""
    if config.online is None:
        check_numbers(config.seeds, steps, None)
        return config._replace(steps=steps)
    if steps <= config.steps:
        raise ValueError(
            f"{path} has {config.steps} offline updates before its environment steps, so steps "
            f"cannot be {steps}: they count both."
        )
    online = dataclasses.replace(config.online, steps=steps - config.steps)
    return config._replace(online=online)
