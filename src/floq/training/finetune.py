"""Fine-tuning: a run that was trained on data goes on in its environment."""

from collections.abc import Sequence
from pathlib import Path

from floq.data.streamed import Data
from floq.disk import user_path
from floq.envs.make import Environment, spec_of
from floq.loggers import Logger, find_loggers
from floq.plugins import command
from floq.runs.checkpoint import Checkpoint, save_checkpoint
from floq.runs.directory import (
    EVALUATIONS,
    METRICS,
    TIMINGS,
    Online,
    RunConfig,
    RunDirectory,
    Schedule,
    read_config,
    read_rows,
    refuse_existing,
)
from floq.runs.run import Run, saved
from floq.settings import takes_settings
from floq.training.callbacks import Callback, checked
from floq.training.checks import check_phases
from floq.training.preparation import (
    as_decisions,
    with_environment,
)
from floq.training.signals import interruptions
from floq.training.sources import DataFile, verified_dataset
from floq.training.train import go_through_phases


@takes_settings("steps", "online", "schedule", "processes")
def finetune(
    run: Run | str | Path,
    *,
    steps: int = 2_000_000,
    online: Online | None = None,
    directory: str | Path | None = None,
    dataset: Data | DataFile | str | Path | None = None,
    env: Environment | None = None,
    schedule: Schedule | None = None,
    processes: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger | str] = (),
) -> Run:
    """Goes on with an offline run in its environment, in a new directory.

    Networks, targets, optimizer and seeds are those of the run's newest checkpoint, and so are
    algorithm, settings and reward range; the rows of the run are taken along, so that the new
    directory holds the whole curve. The run itself is left as it is. The result is the same, to
    the bit, as that of `train` with as many offline steps and the same online settings.

    Args:
        run: The run, or its directory.
        steps: Environment steps of each seed.
        online: All settings of how it learns there, in place of the published ones and of `steps`.
        directory: A new folder; by default the run's with "-online" at its end.
        dataset: The run's data, or the file that holds it; by default the file that the run has
            noted, or that of its task, is loaded. Not needed if batches hold online transitions
            alone.
        env: Where to train and evaluate; by default the run's environment.
        schedule: When to log, evaluate and save, in environment steps; by default the run's.
        processes: Processes that step environments; by default one for each core.
        progress: Whether to draw a progress bar, where there is a terminal.
        callbacks: Functions that are told of every log, evaluation and checkpoint, as in `train`.
        loggers: Told what the new directory's files hold, as in `train`.

    Returns:
        The new run.

    Raises:
        FileNotFoundError: If there is no run, it has saved nothing, or its data is not there.
        FileExistsError: If the directory already holds a run.
        ValueError: If the run is online already, or settings do not go together.
        Interrupted: If a signal asked to stop; everything is saved, and `resume` goes on.
        Diverged: If a loss or a parameter is no longer finite.
        MemoryError: If an update takes more memory than there is.
        floq.envs.vector.WorkerError: If an environment fails; everything before is saved.
        floq.training.online_phase.NothingToLearn: If no update can come of the environment's
            steps; everything before is saved.
    """
    source = run.directory if isinstance(run, Run) else user_path(run, "run")
    callbacks, loggers = checked(callbacks), find_loggers(loggers)
    former = read_config(source)
    _refuse_other_ways(source, former)
    online = Online(steps=steps) if online is None else online
    spec = former.environment if env is None else spec_of(env)
    checkpoint = saved(source, former)
    needs_data = online.buffer != "online"
    check_phases(
        *(former.config, former.seeds, checkpoint.step, online, spec),
        has_data=True,
        processes=processes,
    )
    data = None
    if needs_data:
        if former.parts is not None:
            raise ValueError(
                f"{source} was trained on data that is streamed, and the buffer {online.buffer!r} "
                'draws from data in memory: give buffer="online".'
            )
        data, noted = verified_dataset(source, former, dataset)
        data, former = as_decisions(data, former.config), former._replace(**noted._asdict())
    # After the data, whose reading may say how the environment is rewarded.
    former = with_environment(former, env, processes=processes)
    config = former._replace(
        steps=checkpoint.step,
        online=online,
        schedule=former.schedule if schedule is None else schedule,
        fingerprint=former.fingerprint if needs_data else None,
    )
    path = source.with_name(f"{source.name}-online") if directory is None else user_path(directory)
    refuse_existing(path)
    with interruptions(), RunDirectory.create(path, config) as files:
        return go_through_phases(
            files,
            config,
            data,
            checkpoint=_take_over(source, files, config, checkpoint),
            done=config.rows_per_step.keys(),
            processes=processes,
            progress=progress,
            callbacks=callbacks,
            loggers=loggers,
        )


def _refuse_other_ways(source: Path, former: RunConfig) -> None:
    """Refuses runs that go on in another way."""
    if former.goals is not None:
        raise ValueError(
            f"{source} has learned to reach goals, which are drawn from data: go on there with "
            f"`{command('resume', source)} --steps N`."
        )
    if former.online is not None:
        raise ValueError(
            f"{source} has trained in its environment already: go on with "
            f"`{command('resume', source)} --online-steps N`, where N counts those that are "
            "done."
        )


def _take_over(
    source: Path, files: RunDirectory, config: RunConfig, checkpoint: Checkpoint
) -> Checkpoint:
    """Copies what was learned and logged so far into the new directory."""
    for name in (METRICS, EVALUATIONS, TIMINGS):
        rows = [row for row in read_rows(source / name) if row["step"] <= checkpoint.step]
        files.append(name, rows)
    path = save_checkpoint(
        files.checkpoints,
        checkpoint.step,
        checkpoint.state,
        details=checkpoint.details,
        keep=config.schedule.keep,
    )
    return checkpoint._replace(path=path)
