"""What a run is told beside its algorithm's settings, for Python and the command line alike.

Free of jax, so that the command line answers at once.
"""

import dataclasses
import math
from typing import Literal

from floq.settings import check_not_negative, check_positive, normalise


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What training does at which steps, beside updating.

    A step is an update offline, and a step of one environment online. Each thing is also done at
    the last step of each of the two.

    Attributes:
        log_interval: Steps between rows of metrics; a row holds the means over the updates between.
        evaluation_interval: Steps between evaluations.
        evaluation_episodes: Episodes of an evaluation, for each policy and seed.
        evaluate_bc: Whether the behaviour-cloned policy of the same run is evaluated too.
        checkpoint_interval: Steps between checkpoints.
        keep: Checkpoints that are kept: 2 or more, since the last one may get damaged.
    """

    log_interval: int = 5_000
    evaluation_interval: int = 20_000
    evaluation_episodes: int = 50
    evaluate_bc: bool = False
    checkpoint_interval: int = 20_000
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuses intervals below 1, and to keep a single checkpoint."""
        normalise(self)
        check_positive(
            self,
            *("log_interval", "evaluation_interval", "evaluation_episodes", "checkpoint_interval"),
        )
        if self.keep < 2:
            raise ValueError(f"keep is {self.keep}: give 2 or more, since one may get damaged.")


@dataclasses.dataclass(frozen=True)
class Online:
    """Settings of training in the environment; the defaults are the published ones.

    Attributes:
        steps: Environment steps of each seed, over all of its environments.
        environments: Environments that each seed steps side by side.
        updates_per_step: Updates for each environment step; may be below 1, such as 0.25.
        warmup: Environment steps before the first update. Their actions are the policy's, or
            uniformly random if no update was made offline.
        buffer: What batches are drawn from. "merged": online transitions as if appended to the
            offline data. "balanced": a fixed share of each. "online": online transitions alone.
        online_share: The online transitions' share of a balanced batch.
        capacity: States of the environments that are kept for each seed; the oldest go first.
    """

    steps: int
    environments: int = 1
    updates_per_step: float = 1.0
    warmup: int = 0
    buffer: Literal["merged", "balanced", "online"] = "merged"
    online_share: float = 0.5
    capacity: int = 2_000_000

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        for name in ("steps", "environments", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"online {name} is {getattr(self, name)}: give a whole number, 1 or more."
                )
        if self.steps % self.environments:
            raise ValueError(
                f"{self.steps} online steps cannot be shared by {self.environments} environments: "
                "give a multiple."
            )
        if not 0 < self.updates_per_step <= 1024:
            raise ValueError(
                f"updates_per_step is {self.updates_per_step}: give a number above 0, such as "
                "0.25, 1 or 128, and at most 1024."
            )
        check_not_negative(self, "warmup")
        if not 0 < self.online_share < 1:
            raise ValueError(
                f"online_share is {self.online_share}: give a number between 0 and 1, or choose "
                'the buffer "online".'
            )

    def updates_before(self, steps: int) -> int:
        """Updates that are due once so many environment steps are in the buffer."""
        return math.floor(self.updates_per_step * max(steps - self.warmup, 0))

    @property
    def rows_per_environment(self) -> int:
        """Length of an environment's ring: its share of the capacity, or all that can come."""
        # Each step adds a row, and where an episode ends two; a short run must hold a lookahead.
        most = max(2 * (self.steps // self.environments) + 1, 1024)
        return min(max(self.capacity // self.environments, 1), most)
