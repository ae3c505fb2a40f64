"""What training tells functions of the user's, whenever it has logged, evaluated or saved."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from floq.runs.run import Run


class Event(NamedTuple):
    """Something that training has just done.

    At a step where several things are due, they come in this order: log, evaluation, checkpoint.

    Attributes:
        kind: "log", "evaluation" or "checkpoint".
        step: Steps of the run that are done: updates, and online steps after them.
        rows: The rows that `metrics.jsonl` or `evaluations.jsonl` got, one for each seed (and
            policy); none for a checkpoint, and none for a log without an update since the last.
        run: The run as it stands, with the state after `step` as arrays of numpy: to look at, not
            to change. Its `policy` and `actor()` act.
    """

    kind: Literal["log", "evaluation", "checkpoint"]
    step: int
    rows: list[dict[str, Any]]
    run: Run


Callback = Callable[[Event], None]
"""A function of the user's, called between two updates: training waits for it.

What it raises ends the training, after everything is saved, and reaches the caller as it is;
`floq.resume` goes on from that step. Of processes that train together, the first alone calls it.
"""


def checked(callbacks: Any) -> Sequence[Callback]:
    """The callbacks, if they are some that can be called.

    Raises:
        TypeError: If they are no list of functions.
    """
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(
            f"callbacks is {callbacks!r}: give a list of functions of one event, as in "
            "callbacks=[print]."
        )
    return callbacks
