"""The demo: floq learns a real OGBench task on a CPU, from nothing, in minutes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from floq.data.generation import generate
from floq.disk import user_path
from floq.extras import require_extra
from floq.presets.demo import CONFIG, DATASET, EPISODES, STEPS, TASK
from floq.settings import takes_settings
from floq.tasks import load_task
from floq.training import Schedule, resume, train
from floq.workers import available_cores

_SCHEDULE = Schedule(
    log_interval=250,
    evaluation_interval=1_500,
    evaluation_episodes=16,
    evaluate_bc=True,
    checkpoint_interval=1_500,
)


@takes_settings("seeds", "steps", "episodes", "schedule")
def demo(
    directory: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = STEPS,
    episodes: int = EPISODES,
    schedule: Schedule = _SCHEDULE,
    progress: bool = True,
) -> Path:
    """Makes data, trains, evaluates and writes `report.html` and `summary.json`.

    Called again, it goes on where it was cut.

    Args:
        directory: Folder of the run.
        seeds: Seeds that train side by side.
        steps: Updates of each.
        episodes: Training trajectories to collect.
        schedule: What training does at which updates.
        progress: Whether to show progress bars.

    Returns:
        The report.

    Raises:
        MissingExtraError: If what the task needs, or what draws, is not installed.
    """
    require_extra("ogbench")
    require_extra("plot")
    directory = user_path(directory)
    # The demo's own, so that it never meets a published file of the same name.
    folder = directory.with_name(f"{directory.name}-data")
    generate(
        DATASET,
        episodes=episodes,
        processes=available_cores(),
        seed=0,
        directory=folder,
        progress=progress,
    )
    dataset, env = load_task(TASK, directory=folder)
    env.close()
    if (directory / "config.json").exists():
        resume(directory, dataset=dataset, progress=progress)
    else:
        config = dataclasses.replace(CONFIG, learning_rate_decay=steps)
        train(
            config,
            dataset,
            env=TASK,
            seeds=seeds,
            steps=steps,
            directory=directory,
            schedule=schedule,
            progress=progress,
        )
    # Here, because what draws takes a second to load, and studies need but the settings above.
    from floq.reports.report import report

    return report([directory], output=directory / "report.html")
