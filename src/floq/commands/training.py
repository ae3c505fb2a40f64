"""What the commands that train have in common."""

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from floq.commands.signals import SAVED

if TYPE_CHECKING:
    from floq.training import Online, Run


@dataclasses.dataclass(frozen=True)
class ScheduleOptions:
    """What training does at which steps: updates offline, steps in the environment online.

    Attributes:
        log_interval: Steps between rows of metrics.
        evaluation_interval: Steps between evaluations.
        evaluation_episodes: Episodes of an evaluation, for each policy and seed.
        evaluate_bc: Also evaluate behaviour cloning, by the flow policy of the same run.
        checkpoint_interval: Steps between checkpoints.
        keep: Checkpoints that are kept.
    """

    log_interval: int = 5_000
    evaluation_interval: int = 20_000
    evaluation_episodes: int = 50
    evaluate_bc: bool = False
    checkpoint_interval: int = 20_000
    keep: int = 2


@dataclasses.dataclass(frozen=True)
class OnlineOptions:
    """How training learns in the environment; the defaults are the published settings.

    Attributes:
        environments: Environments that each seed steps side by side.
        updates_per_step: Updates for each environment step, such as 0.25, 1 or 128.
        warmup: Environment steps before the first update; at random where there was no update
            before.
        buffer: What batches are drawn from: offline and online transitions merged, balanced in a
            fixed ratio, or online ones alone.
        online_share: Share of the online transitions in a balanced batch.
        capacity: States of the environments that are kept; the oldest go first.
    """

    environments: int = 1
    updates_per_step: float = 1.0
    warmup: int = 0
    buffer: Literal["merged", "balanced", "online"] = "merged"
    online_share: float = 0.5
    capacity: int = 2_000_000

    def settings(self, steps: int) -> "Online":
        """The settings of so many environment steps."""
        from floq.training import Online

        return Online(steps=steps, **dataclasses.asdict(self))


def run_training(train: "Callable[[], Run]") -> int:
    """Runs a training; an interrupted one says how to go on. Gives the exit status."""
    from floq.training import Interrupted

    try:
        run = train()
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return SAVED
    print(f"{run.directory}: {run.step:,} steps are done. Look at them with")
    print(f"  floq report {run.directory} -o {run.directory / 'report.html'}")
    return 0
