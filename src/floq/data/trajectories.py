"""Where trajectories end, what their last rows mean, and what is left of them."""

import warnings

import numpy as np
from numpy.typing import DTypeLike

from floq.data.memory import PIECE, clip_actions, rows_of_piece, zeros
from floq.data.reading import Layout

_TAIL_SHARE = 0.1
"""Starts that every trajectory loses at its end are spoken of where they are more of the data."""
_ENOUGH_TO_JUDGE = 32
"""Transitions below which flags may be what they are by chance."""


def rows_of_states(
    arrays: dict[str, np.ndarray], layout: Layout | None, *, source: str
) -> dict[str, np.ndarray]:
    """Whole trajectories with a row for each one's last state, from which nothing was done.

    Args:
        arrays: Checked fields, with rewards, masks and terminals.
        layout: What the rows are; None takes them for states, and refuses them where they may as
            well be transitions.
        source: What the data is called in messages.

    Raises:
        ValueError: If the layout is none, or not given where it matters.
    """
    if layout not in (None, "states", "transitions"):
        raise ValueError(
            f'{source}: layout is {layout!r}: give "states", if the last row of a trajectory is a '
            'state from which nothing was done, or "transitions", if every row is a transition'
        )
    ends = arrays["terminals"] != 0
    if layout is None and not ends.all():
        _refuse_doubtful(arrays["rewards"], arrays["masks"], ends, source=source)
    if layout != "transitions":
        return arrays
    over = ends & (arrays["masks"] == 0)
    cut = int(ends.sum() - over.sum())
    if cut:
        warnings.warn(
            f"{source}: {cut} transitions, the last ones of trajectories whose masks are 1 there, "
            "are left out: a time limit cut them off, and no row has their next observation. "
            "Give next_observations to Dataset.from_transitions to keep them",
            UserWarning,
            stacklevel=4,
        )
    if not over.any():
        return arrays
    # The row that is added stands for a state that nobody reads, since it has no value.
    rows = np.repeat(np.arange(len(over)), 1 + over)
    states = {field: values[rows] for field, values in arrays.items()}
    states["terminals"] = np.append(rows[1:] != rows[:-1], True) & ends[rows]
    return states


def _refuse_doubtful(
    rewards: np.ndarray, masks: np.ndarray, ends: np.ndarray, *, source: str
) -> None:
    """Refuses last rows that look like transitions, whose rewards and masks would be lost."""
    trajectories = int(ends.sum())
    over = np.flatnonzero(ends & (masks == 0))
    inner = rewards[~ends]
    if over.size:
        found = (
            f"masks is 0 at the last row of {over.size} of {trajectories} trajectories, as where a "
            "task is solved"
        )
        first = f"first at row {over[0]}"
    elif inner.size and (inner == inner[0]).all() and (rewards[ends] != inner[0]).any():
        row = int(np.flatnonzero(ends & (rewards != inner[0]))[0])
        if rewards[row] == 0:
            return
        found = f"rewards is {inner[0]} everywhere but at the last rows of trajectories"
        first = f"where row {row} holds {rewards[row]}"
    else:
        return
    raise ValueError(
        f"{source}: {found}, {first}. Is a row with terminals 1 a transition, as in D4RL's data? "
        'Then give layout="transitions". Or is it a last state from which nothing was done, as in '
        "OGBench's, so that its action, reward and mask count for nothing? Then give "
        'layout="states"'
    )


def rows_of_transitions(
    arrays: dict[str, np.ndarray], *, is_packed: bool = False
) -> dict[str, np.ndarray]:
    """Separate transitions as rows of states, each stored once, and by `is_end` which are last.

    Args:
        arrays: Checked fields, with next_observations and maybe ends.
        is_packed: Whether observations are rows of bytes.
    """
    states, following = arrays["observations"], arrays["next_observations"]
    dtype = states.dtype if is_packed else np.float32
    states, following = (values.astype(dtype, copy=False) for values in (states, following))
    breaks = np.ones(len(states), dtype=bool)
    count = rows_of_piece(states.shape, states.dtype)
    for start in range(0, len(states) - 1, count):
        own = slice(start, min(start + count, len(states) - 1))
        later = slice(start + 1, own.stop + 1)
        breaks[own] = (following[own] != states[later]).any(axis=1)
    if "ends" in arrays:
        breaks |= arrays["ends"] != 0

    # Every break before a transition has put one more row, a last state, in front of it.
    transitions = np.arange(len(states)) + np.cumsum(breaks) - breaks
    size = len(states) + int(breaks.sum())

    def spread(values: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        rows = zeros((size, *values.shape[1:]), dtype)
        rows[transitions] = values
        return rows

    rows = {"observations": spread(states, dtype)}
    rows["observations"][transitions[breaks] + 1] = following[breaks]
    rows |= {field: spread(arrays[field]) for field in ("rewards", "masks")}
    rows["actions"] = spread(clip_actions(arrays["actions"]))
    is_end = np.ones(size, bool)
    is_end[transitions] = False
    return rows | {"is_end": is_end}


def starts_of(is_end: np.ndarray, *, source: str) -> np.ndarray:
    """Rows from which a transition starts: all but the last ones of trajectories.

    Raises:
        ValueError: If there is none.
    """
    starts = np.flatnonzero(~is_end)
    if starts.size == 0:
        raise ValueError(
            f"{source}: terminals are 1 at every row, so there is no transition: mark only the "
            "last row of each trajectory, and give each at least two rows, or "
            'layout="transitions" if they are separate transitions with the mask 0'
        )
    return starts


def first_rows(is_end: np.ndarray) -> np.ndarray:
    """The first row of each row's trajectory, or the first one that is there, int32 (rows,)."""
    is_first = np.append(True, is_end[:-1])
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(is_first)), 0))
    return first.astype(np.int32)


def warn_of_masks(masks: np.ndarray, starts: np.ndarray, *, source: str) -> None:
    """Says where masks seem to be flags of ends: each transition that goes on has the mask 0.

    Args:
        masks: Of each row.
        starts: Rows from which a transition starts, in increasing order.
        source: What the data is called in messages.
    """
    count = 0
    for first in range(0, len(starts) - 1, PIECE):
        own = starts[first : first + PIECE + 1]
        going_on = own[:-1][np.diff(own) == 1]
        if masks[going_on].any():
            return
        count += going_on.size
    if count >= _ENOUGH_TO_JUDGE:
        warnings.warn(
            f"{source}: masks is 0 at each of the {count} transitions after which a "
            "trajectory goes on, so that no next state has a value. A mask is 1 - terminated: if "
            "these are flags of ends, give masks=1 - flags",
            UserWarning,
            stacklevel=4,
        )


def decisions(
    rewards: np.ndarray,
    masks: np.ndarray,
    is_start: np.ndarray,
    *,
    action_chunk: int,
    n_step: int,
    discount: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards and masks over the lookahead of decisions, and the rows where decisions start.

    A row's are those of the whole data where the rows that it looks ahead to are there.

    Args:
        rewards: Of each row.
        masks: Of each row.
        is_start: Whether a transition of one step starts from a row.
        action_chunk: Steps of a decision.
        n_step: Decisions over which rewards are summed.
        discount: γ of a single step.
    """
    lookahead, rows = action_chunk * n_step, np.arange(len(rewards))
    # Of each row: the transitions in a row from it on, until its trajectory's last state.
    ends = np.append(np.flatnonzero(~is_start), len(rows))
    remaining = ends[np.searchsorted(ends, rows)] - rows
    total, going_on = np.zeros_like(rewards), np.ones_like(masks)
    for step in range(lookahead):
        inside = np.flatnonzero(remaining > step)
        total[inside] += discount**step * going_on[inside] * rewards[inside + step]
        going_on[inside] *= masks[inside + step]
    reaches = (remaining >= lookahead) | (going_on == 0)
    return total, going_on, np.flatnonzero((remaining >= action_chunk) & reaches)


def check_decisions(
    is_start: np.ndarray, kept: np.ndarray, *, action_chunk: int, n_step: int, setting: str
) -> None:
    """Says what decisions of several steps leave out, and why, where it is much or all.

    Args:
        is_start: Whether a transition of one step starts from a row.
        kept: Rows from which a decision starts.
        action_chunk: Steps of a decision.
        n_step: Decisions over which rewards are summed.
        setting: What sets the length of a chunk.

    Raises:
        ValueError: If none is left.
    """
    lookahead = action_chunk * n_step
    named = [
        f"{name}={value}"
        for name, value in ((setting, action_chunk), ("n_step", n_step))
        if value > 1
    ]
    # A trajectory is named by the number of last states before it.
    owners = np.cumsum(~is_start)
    lengths = np.unique(owners[is_start], return_counts=True)[1]
    starts = int(lengths.sum())
    joins = lengths.max() > 1 or starts == 1
    apart = (
        "no two transitions follow one another, since no next observation equals the following "
        "row's observation, as in shuffled data, or each is marked as the end of its trajectory: "
        "give them in the order in which they were collected, and mark true ends alone"
    )
    if kept.size == 0:
        why = f"the longest of {len(lengths)} has {lengths.max()}: give a shorter action chunk"
        raise ValueError(
            f"no trajectory has {lookahead} transitions in a row, which {' and '.join(named)} "
            f"needs: {why + ' or fewer steps' if joins else apart}"
        )
    lost = starts - len(kept)
    empty = len(lengths) - len(np.unique(owners[kept]))
    if not empty and lost <= _TAIL_SHARE * starts:
        return
    if not joins:
        why = apart
    elif empty:
        why = (
            f"{empty} of {len(lengths)} trajectories are shorter than the {lookahead} steps that a "
            "decision looks ahead"
        )
    else:
        why = (
            f"a decision looks {lookahead} steps ahead, and the last {lookahead - 1} of each of "
            f"{len(lengths)} trajectories have its end before that"
        )
    warnings.warn(
        f"{', '.join(named)} leaves out {lost:,} of {starts:,} transitions "
        f"({lost / starts:.0%}): {why}",
        UserWarning,
        stacklevel=4,
    )
