"""The range of an environment's actions, which data and policies have as [-1, 1]."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Bound = ArrayLike | float | int | Sequence[float | int]
"""A bound of all entries of an action, or one for each."""


class ActionBounds(NamedTuple):
    """What -1 and 1 stand for, in the environment's own units.

    Attributes:
        low: Least value, one for all entries of an action or one for each.
        high: Greatest value, as many.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def named(self) -> dict[str, tuple[float, ...]]:
        """Both by the names that constructors and datasets have for them."""
        return {"action_low": self.low, "action_high": self.high}

    def each(self, entries: int, *, source: str) -> "ActionBounds":
        """One bound for each entry of an action.

        Raises:
            ValueError: If there are bounds for another number of entries.
        """
        if len(self.low) not in (1, entries):
            raise ValueError(
                f"{source}: action_low and action_high have {len(self.low)} entries and an action "
                f"has {entries}: give one number for all entries, or one for each"
            )
        if len(self.low) == entries:
            return self
        return ActionBounds(self.low * entries, self.high * entries)

    def equals(self, other: "ActionBounds") -> bool:
        """Whether both are the same where one number may stand for all entries."""
        return all(
            ours == theirs or (1 in (len(ours), len(theirs)) and len({*ours, *theirs}) == 1)
            for ours, theirs in zip(self, other, strict=True)
        )

    def to_unit(self, actions: np.ndarray) -> np.ndarray:
        """The actions, given in the environment's units, as float64 on [-1, 1]."""
        low, high = np.array(self.low), np.array(self.high)
        # Of this form because bounds of -1 and 1 leave every bit of an action as it is.
        return (actions - (low / 2 + high / 2)) / (high / 2 - low / 2)

    def __str__(self) -> str:
        """As an interval, or as two lists."""
        if len(set(self.low)) == len(set(self.high)) == 1:
            return f"[{self.low[0]:.6g}, {self.high[0]:.6g}]"
        low, high = (", ".join(f"{bound:.6g}" for bound in side) for side in self)
        return f"action_low ({low}) and action_high ({high})"


def action_bounds(
    action_low: Bound | None, action_high: Bound | None, action_space: Any, *, source: str
) -> ActionBounds | None:
    """The bounds that somebody gave, as the float32 numbers that spaces hold; None if none.

    Args:
        action_low: Least value of an action, one for all entries or one for each.
        action_high: Greatest value, likewise.
        action_space: A box of gymnasium, in place of both.
        source: What the data is called in messages.

    Raises:
        ValueError: If only one is given, or a lower one is not below its upper one and finite.
    """
    if action_space is not None:
        if action_low is not None or action_high is not None:
            raise ValueError(
                f"{source}: action_space is given beside action_low or action_high: give one or "
                "the other"
            )
        if not (hasattr(action_space, "low") and hasattr(action_space, "high")):
            raise ValueError(
                f"{source}: action_space is {action_space}, which has no bounds: give a "
                "gymnasium.spaces.Box (floq has no discrete actions)"
            )
        action_low, action_high = action_space.low, action_space.high
    if action_low is None and action_high is None:
        return None
    if action_low is None or action_high is None:
        given, other = "action_low", "action_high"
        if action_low is None:
            given, other = other, given
        raise ValueError(f"{source}: {given} is given without {other}: give both")
    low, high = (
        _numbers(values, name, source)
        for values, name in ((action_low, "action_low"), (action_high, "action_high"))
    )
    if len(low) != len(high) and 1 not in (len(low), len(high)):
        raise ValueError(
            f"{source}: action_low has {len(low)} entries and action_high has {len(high)}: give as "
            "many of both"
        )
    low, high = np.broadcast_arrays(low, high)
    wrong = np.flatnonzero(low >= high)
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"{source}: action_low is {low[first]} and action_high is {high[first]} in entry "
            f"{first}: the lower bound must be below the upper one"
        )
    return ActionBounds(tuple(low.tolist()), tuple(high.tolist()))


def _numbers(values: Bound, name: str, source: str) -> np.ndarray:
    """A bound for all entries or each of them, float32."""
    try:
        given = np.asarray(values)
        with np.errstate(over="ignore"):
            numbers = np.atleast_1d(given).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source}: {name} is {values!r}: give a number, or one for each entry of an action"
        ) from error
    if given.dtype.kind not in "fiu" or numbers.ndim > 1 or numbers.size == 0:
        raise ValueError(
            f"{source}: {name} has the dtype {given.dtype} and the shape {given.shape}: give a "
            "number, or one for each entry of an action"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"{source}: {name} is {values}, which is not finite: give the bounds that actions "
            "really have; an environment without any needs a wrapper that sets them"
        )
    return numbers
