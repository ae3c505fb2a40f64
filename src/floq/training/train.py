"""Training: from a dataset, an environment or both to a policy, in a directory that survives."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from floq.algorithms import algorithm_of
from floq.data.goal_dataset import GoalDataset
from floq.data.goals import Goals
from floq.data.streamed import Data, StreamedDataset
from floq.disk import user_path
from floq.envs.make import Environment, spec_of
from floq.evaluation import Evaluator
from floq.loggers import Following, Logger, find_loggers
from floq.progress import ProgressDisplay
from floq.runs.checkpoint import Checkpoint, newest_checkpoint, set_aside_after
from floq.runs.directory import (
    Online,
    RunConfig,
    RunDirectory,
    Schedule,
    config_bytes,
    read_config,
    refuse_existing,
)
from floq.runs.run import Run
from floq.runs.states import initial_states, states_template
from floq.settings import takes_settings
from floq.training.callbacks import Callback, checked
from floq.training.checks import (
    all_seeds,
    check_batch,
    check_devices,
    check_extension,
    check_numbers,
    check_phases,
    check_policies,
    check_task_of,
    extended,
)
from floq.training.hosts import check_agreement, on_first
from floq.training.loop import Loop, Phase
from floq.training.offline_phase import OfflinePhase
from floq.training.online_phase import OnlinePhase
from floq.training.preparation import (
    action_bounds,
    as_goals,
    check_environment,
    normalization_of,
    statistics_of,
    with_environment,
    with_goals,
    with_successes,
)
from floq.training.signals import interruptions
from floq.training.sources import DataFile, read_dataset, verified_dataset, why_in_memory


@takes_settings(
    *("task", "seed", "seeds", "steps", "online", "goals", "reward_range"),
    *("normalize_observations", "schedule", "processes"),
)
def train(
    config: Any,
    dataset: Data | DataFile | str | Path | None,
    *,
    directory: str | Path,
    env: Environment | None = None,
    task: str | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    steps: int = 2_000_000,
    online: Online | None = None,
    goals: Goals | None = None,
    reward_range: tuple[float, float] | None = None,
    normalize_observations: bool = False,
    schedule: Schedule = Schedule(),
    processes: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger | str] = (),
) -> Run:
    """Trains a policy: on a dataset, then in the environment if it is told to.

    Ctrl-C, SIGTERM or SIGHUP saves and raises `Interrupted`; `resume` then goes on, and ends with
    the same bits as if nothing had happened. The same holds after a kill.

    All devices that jax sees are used, as `floq.training.devices` says; in several processes that
    have joined (see `floq.training.hosts`), each makes the same call.

    Args:
        config: The config of an algorithm, such as `floq.FloqConfig()`, or `floq.preset(...)`.
        dataset: The data, or a source as `Dataset.load` reads it, which the run notes (a
            `floq.DataFile` says how to read it), and which is streamed if it is too large for
            memory; None learns from online transitions alone.
        directory: A new folder for everything that the run leaves behind.
        env: Where to evaluate the policy, and to train online: what `floq.make_env` takes, an
            environment, or a function that returns one and can be imported. None does neither. If a
            `floq.DataFile` is read with `rewards="success"`, it is rewarded by success too.
        task: The floq task that the data belongs to, from which `resume` loads it again. Taken
            from `env` if that is a task's name.
        seed: Seed of the run; 0 by default.
        seeds: Several seeds, which train side by side in one program, in place of `seed`.
        steps: Updates on the dataset alone; 0 starts in the environment at once.
        online: What follows in the environment; None ends with the dataset.
        goals: Learns to reach goals, drawn from the data as `floq.Goals` says, in place of the
            data's rewards; networks read an observation and a goal side by side.
        reward_range: Least and greatest reward of a single step, which set noise interval and
            histogram; by default those of the dataset. Needed where there is none.
        normalize_observations: Whether networks read observations less the data's mean, over its
            standard deviation (1 for an entry that is constant); of a dictionary, its vectors.
            Whoever calls the policy gives them as they are; OGBench's published runs do without.
        schedule: When to log, evaluate and save.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.
        callbacks: Functions that are told of every log, evaluation and checkpoint; see
            `floq.Event`. What one raises ends the training, and all is saved.
        loggers: "tensorboard", "wandb", or instances of classes that derive from `floq.Logger`:
            told what the run's files hold. One that fails is warned of, and left alone.

    Returns:
        The run, with its state and policy.

    Raises:
        ValueError: If a setting is out of its range, dataset and environment do not match, or
            devices cannot share a batch evenly.
        TypeError: If `config` belongs to no algorithm, or an argument is of another kind.
        FileExistsError: If the directory already holds a run.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
        MemoryError: If an update takes more memory than there is.
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
        floq.training.online_phase.NothingToLearn: If no update can come of the environment's
            steps; everything before is saved.
    """
    callbacks, loggers = checked(callbacks), find_loggers(loggers)
    refuse_existing(path := user_path(directory, "directory"))
    name, algorithm = algorithm_of(config)
    seeds = all_seeds(seed, seeds)
    spec = with_goals(None if env is None else spec_of(env), goals, online)
    has_data = dataset is not None
    check_phases(config, seeds, steps, online, spec, has_data=has_data, processes=processes)
    task = check_task_of(task, env, has_goals=goals is not None)
    check_policies(schedule, name, spec)
    dataset, noted = read_dataset(dataset, in_memory=why_in_memory(online, goals))
    spec = spec and with_successes(spec, noted.reading, goals)
    source = None if dataset is None else as_goals(dataset, config, goals)
    environment = check_environment(spec, source, schedule, processes=processes)
    statistics = statistics_of(config, source, environment, reward_range)
    # What networks refuse, as rewards that are all equal, is refused before there is a folder.
    state = states_template(algorithm, config, statistics, seeds)
    check_batch(config.batch_size, seeds, statistics)
    own_bounds = environment.bounds if source is None and environment else action_bounds(source)
    run_config = RunConfig(
        algorithm=name,
        config=config,
        task=task,
        environment=None if environment is None else environment.spec,
        seeds=seeds,
        steps=steps,
        online=online,
        schedule=schedule,
        fingerprint=None if dataset is None else dataset.fingerprint(),
        statistics=statistics,
        **noted._asdict(),
        parts=source.parts(config.batch_size) if isinstance(source, StreamedDataset) else None,
        action_bounds=own_bounds,
        normalization=normalization_of(dataset, goals, state) if normalize_observations else None,
        goals=goals,
    )
    # From here on a signal saves: also one that comes before the first update is compiled.
    check_agreement(config_bytes(run_config), what="settings or data")
    with interruptions(), _open(lambda: RunDirectory.create(path, run_config), path) as files:
        told = {"progress": progress, "callbacks": callbacks, "loggers": loggers}
        return go_through_phases(files, run_config, source, processes=processes, **told)


@takes_settings("steps", "online_steps", "processes")
def resume(
    directory: str | Path,
    *,
    dataset: Data | DataFile | str | Path | None = None,
    env: Environment | None = None,
    steps: int | None = None,
    online_steps: int | None = None,
    processes: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger | str] = (),
) -> Run:
    """Goes on with a run from its newest intact checkpoint, to the same bits as an uncut run.

    Args:
        directory: The run.
        dataset: Its data, or the file that holds it; by default the file that the run has noted,
            or that of its task, is loaded.
        env: Its environment, if it has moved or changed; it must fit what the run has learned.
        steps: Updates on the dataset alone, in all, if not those that the run was started with.
        online_steps: Environment steps of each seed, in all, likewise.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.
        callbacks: Functions that are told of every log, evaluation and checkpoint; see
            `floq.Event`. What one raises ends the training, and all is saved.
        loggers: "tensorboard", "wandb", or instances of classes that derive from `floq.Logger`:
            told what the run's files hold. One that fails is warned of, and left alone.

    Returns:
        The run. If it was finished before, nothing is done.

    Raises:
        FileNotFoundError: If there is no run, or its task's data is not there.
        RuntimeError: If all its checkpoints are damaged, or another process is at work in it.
        ValueError: If the dataset is another one, the steps lie behind, or a file is not sound.
        Interrupted: If a signal asked to stop; everything is saved.
        Diverged: If a loss or a parameter is no longer finite.
        MemoryError: If an update takes more memory than there is.
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
        floq.training.online_phase.NothingToLearn: If no update can come of the environment's
            steps; everything before is saved.
    """
    path = user_path(directory, "directory")
    callbacks, loggers = checked(callbacks), find_loggers(loggers)
    former = read_config(path)
    config = extended(path, former, steps, online_steps)
    check_numbers(config.seeds, config.steps, config.online, processes=processes)
    check_devices(config.config, config.seeds, config.online, offline_steps=config.steps)
    check_agreement(config_bytes(config), what="settings")
    template = states_template(config.rule, config.config, config.statistics, config.seeds)
    with interruptions(), _open(lambda: RunDirectory(path), path) as files:
        source = None
        checkpoint = newest_checkpoint(files.checkpoints, template, with_rows=True)
        step = 0 if checkpoint is None else checkpoint.step
        check_agreement(str(step).encode(), what="checkpoints")
        check_extension(path, config, former, checkpoint)
        done = files.rewind(config.rows_per_step, step)
        is_last = step == config.total_steps and done == config.rows_per_step.keys()
        if checkpoint is not None and is_last:
            unit = "steps" if config.online else "updates"
            files.say(f"{path} is finished: all {step:,} {unit} are done.")
            return Run(path, config, step, checkpoint.state)
        if config.fingerprint is not None:
            found, noted = verified_dataset(path, config, dataset)
            config = config._replace(**noted._asdict())
            source = as_goals(found, config.config, config.goals)
        if files.writes:
            config = with_environment(config, env, processes=processes)
        files.check_versions(step)
        files.write_config(config)
        if checkpoint is not None and files.writes:
            set_aside_after(checkpoint)
        files.say(f"{path} goes on at step {step:,} of {config.total_steps:,}.")
        return go_through_phases(
            files,
            config,
            source,
            checkpoint=checkpoint,
            done=done,
            processes=processes,
            progress=progress,
            callbacks=callbacks,
            loggers=loggers,
        )


def go_through_phases(
    files: RunDirectory,
    config: RunConfig,
    dataset: Data | GoalDataset | None,
    *,
    checkpoint: Checkpoint | None = None,
    done: Collection[str] = (),
    processes: int | None,
    progress: bool,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
) -> Run:
    """Goes through what is left of a run's phases, offline and online.

    It goes on from `checkpoint`, or starts where that is None; `done` names the files that have
    their rows of the checkpoint's step already. `dataset` has one transition for each decision; it
    is None where no data is needed any more. The other arguments, and what ends a training early,
    are those of `train`.

    Returns:
        The finished run.

    Raises:
        ValueError: If there is neither a checkpoint nor the data to come to one.
    """
    if checkpoint is None and config.steps and dataset is None:
        raise ValueError(
            f"{files.path} has lost the checkpoint that it began with: fine-tune the former run "
            "again, in another directory."
        )
    evaluator = _evaluator(files, config, processes)
    start = 0 if checkpoint is None else checkpoint.step
    with (
        Following(loggers if files.writes else (), files.path) as following,
        evaluator or contextlib.nullcontext(),
        ProgressDisplay(config.total_steps, start=start, bar=progress and files.writes) as display,
        interruptions() as stop,
    ):
        files.listeners.append(following.update)

        def run_phase(phase: Phase, done: Collection[str], *, is_saved: bool) -> Any:
            """The state after the phase."""
            ends = {"done": done, "is_saved": is_saved, "callbacks": callbacks}
            Loop(files, config, phase, evaluator, **ends).run(display, stop)
            return phase.state()

        state = None if checkpoint is None else checkpoint.state
        if checkpoint is None or not checkpoint.is_online:
            if config.steps and dataset is not None:
                offline = OfflinePhase(config, dataset, checkpoint)
                with contextlib.closing(offline):
                    state = run_phase(offline, done, is_saved=checkpoint is not None)
                done = config.rows_per_step
            checkpoint = None
        if config.online is None:
            return _finished(files, config, state, following)
        if state is None:
            state = initial_states(config.rule, config.config, config.statistics, config.seeds)
        assert not isinstance(dataset, GoalDataset)
        data = None if config.online.buffer == "online" else dataset
        assert not isinstance(data, StreamedDataset)
        with OnlinePhase(
            *(files, config, data, state),
            checkpoint=checkpoint,
            processes=processes,
            should_stop=stop,
        ) as online:
            is_saved = checkpoint is not None or config.steps > 0
            state = run_phase(online, done, is_saved=is_saved)
            online.check_learned()
        return _finished(files, config, state, following)


def _evaluator(files: RunDirectory, config: RunConfig, processes: int | None) -> Evaluator | None:
    """What plays in the run's environment, in the process that writes."""
    if config.environment is None or not files.writes:
        return None
    return Evaluator(config.environment, processes=processes)


def _finished(files: RunDirectory, config: RunConfig, state: Any, following: Following) -> Run:
    """The run, which loggers show."""
    run = Run(files.path, config, config.total_steps, state)
    following.show(run)
    return run


def _open(take: Callable[[], RunDirectory], path: Path) -> RunDirectory:
    """The run's directory as `take` gives it, or, beside the process that writes, to read only."""
    return on_first(take) or RunDirectory(path, writes=False)
