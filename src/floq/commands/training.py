"""What the commands that train have in common."""

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from floq.commands.signals import SAVED
from floq.streams import complain

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
class HostOptions:
    """How the processes that train one run together find each other.

    Attributes:
        coordinator: Address HOST:PORT where host 0 listens for the others; the same for all. Give
            auto on a cluster whose scheduler knows all three, such as SLURM.
        hosts: Processes in all.
        host: Number of this one, from 0.
    """

    coordinator: str | None = None
    hosts: int | None = None
    host: int | None = None

    def joined(self) -> AbstractContextManager[None]:
        """Joins the others, if there are any, for as long as the context lasts.

        Raises:
            ValueError: If numbers are given without the coordinator, or are wrong.
        """
        if self.coordinator is None:
            if (self.hosts, self.host) != (None, None):
                raise ValueError(
                    f"hosts is {self.hosts} and host is {self.host}, but there is no coordinator: "
                    "give --coordinator HOST:PORT, the same for all processes."
                )
            return contextlib.nullcontext()
        from floq.training.hosts import joined

        return joined(self.coordinator, hosts=self.hosts, host=self.host)


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
    from floq.training.hosts import is_first

    try:
        run = train()
    except Interrupted as interrupted:
        if is_first():
            complain(interrupted)
        return SAVED
    if is_first():
        print(f"{run.directory}: {run.step:,} steps are done. Look at them with")
        print(f"  floq report {run.directory} -o {run.directory / 'report.html'}")
    return 0
