"""The part of `floq evaluate` that reads a flow critic at other integration steps."""

from collections.abc import Sequence

from floq.inspection.integration_steps import StepReadings, at_integration_steps, read_at_steps
from floq.inspection.returns import run_decisions
from floq.reports import page
from floq.reports.readings import readings_table
from floq.runs.run import Run


def print_readings(
    run: Run, steps: Sequence[int], *, episodes: int, seed: int, processes: int | None
) -> None:
    """Prints how value error and success change with K, over all seeds of the run.

    Args:
        run: The run.
        steps: The K.
        episodes: Episodes of each seed, for each K where the policy depends on it.
        seed: Seed of the episodes.
        processes: Processes that step environments.
    """
    # Refuses what cannot be before any episode.
    at_integration_steps(run, min(steps))
    decisions = {
        own: run_decisions(run, own, episodes=episodes, episode_seed=seed, processes=processes)
        for own in run.config.seeds
    }
    readings = read_at_steps(
        run, steps, decisions, episodes=episodes, seed=seed, processes=processes
    )
    for line in _lines(*readings_table(readings)):
        print(line)
    print()
    print(explanation(readings))


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The table in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def explanation(readings: StepReadings) -> str:
    """What the table's figures are, in words."""
    seeds = ", ".join(map(str, readings.seeds))
    whose = f"each of the seeds {seeds}" if len(readings.seeds) > 1 else f"seed {seeds}"
    played = f"{page.count(readings.episodes, 'episode')} of {whose}"
    text = (
        f"K = {readings.trained} is that of training. Errors are root mean squares over the same "
        f"decisions of the policy as trained ({played}), in units of return; ranges are 95 % "
        "intervals over episodes.\n"
    )
    if readings.acting:
        return text + (
            "The policy acts by what the flow says, so its "
            f"{readings.figure} is that of a policy that reads the flow at this K."
        )
    return text + (
        "This policy does not read the flow as it acts: another K changes the values alone, and "
        f"its {readings.figure} is the same at every K."
    )
