"""What training tells functions of the user's, whenever it has logged, evaluated or saved."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from floq.runs.run import Run


class Event(NamedTuple):
    """Something that training has just done.

    Attributes:
        kind: "log", "evaluation" or "checkpoint".
        step: Steps of the run that are done.
        rows: The rows that were written, one for each seed (and policy); none for a checkpoint.
        run: The run as it stands, with the state after `step`: to look at, not to change.
    """

    kind: Literal["log", "evaluation", "checkpoint"]
    step: int
    rows: list[dict[str, Any]]
    run: Run


Callback = Callable[[Event], None]
"""A function of the user's. What it raises ends the training, after everything is saved."""
