"""Settings of goal-conditioned learning: where goals come from, and when one is reached.

Free of jax, so that the command line answers at once.
"""

import dataclasses
from typing import Literal

from floq.settings import normalise

Future = Literal["geometric", "uniform"]
"""How far ahead in its trajectory a goal lies: with the discount's odds, or anywhere alike."""


@dataclasses.dataclass(frozen=True)
class Goals:
    """Where the goals of transitions come from; the defaults are OGBench's (arXiv 2410.20092).

    Critic and policy learn at goals of their own. Three shares say how often a goal is the state
    itself, a later state of its trajectory, and any state of the data.

    Attributes:
        value_goals: These shares where critics learn.
        value_future: How far ahead the later states lie there: "geometric", where each step has
            the odds of the discount and what lies beyond the trajectory's last state becomes that
            state, or "uniform".
        policy_goals: The shares where the policy learns.
        policy_future: How far ahead the later states lie there.
        goal_entries: Which entries of an observation are the goal, numbered from 0; by default
            all of them.
        goal_tolerance: Largest distance at which a state is at its goal; 0 where the two are equal.
    """

    value_goals: tuple[float, float, float] = (0.2, 0.5, 0.3)
    value_future: Future = "geometric"
    policy_goals: tuple[float, float, float] = (0.0, 1.0, 0.0)
    policy_future: Future = "uniform"
    goal_entries: tuple[int, ...] = ()
    goal_tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Refuses shares that are none, entries below 0 or named twice, and a distance below 0."""
        normalise(self)
        for name in ("value_goals", "policy_goals"):
            shares = getattr(self, name)
            if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
                raise ValueError(
                    f"{name} is {shares}: give three shares of 0 or more whose sum is 1, for the "
                    "state itself, a later state of its trajectory, and any state."
                )
        entries = self.goal_entries
        if min(entries, default=0) < 0 or len(set(entries)) < len(entries):
            raise ValueError(
                f"goal_entries is {entries}: give numbers from 0, all of them different."
            )
        if self.goal_tolerance < 0:
            raise ValueError(f"goal_tolerance is {self.goal_tolerance}: give 0 or more.")

    def check_entries(self, observation_dim: int) -> None:
        """Refuses entries that an observation does not have.

        Raises:
            ValueError: If there is one.
        """
        if max(self.goal_entries, default=0) >= observation_dim:
            raise ValueError(
                f"goal_entries is {self.goal_entries}, and an observation has {observation_dim} "
                f"entries: give numbers from 0 to {observation_dim - 1}."
            )

    def goal_dim(self, observation_dim: int) -> int:
        """Entries of a goal."""
        return len(self.goal_entries) or observation_dim
