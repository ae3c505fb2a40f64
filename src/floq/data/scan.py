"""One reading of all rows of files, which checks them and finds what is kept of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from floq.data.fingerprint import Field, fingerprint, form_field, whole_field
from floq.data.memory import Flags, edges, observation_dtype
from floq.data.sharded import ShardedRows
from floq.progress import ProgressDisplay


class Scan(NamedTuple):
    """What one reading of all rows finds.

    Attributes:
        is_end: Which rows are last ones of trajectories.
        masks: Those of all rows.
        fingerprint: That of the same data in memory.
    """

    is_end: Flags
    masks: Flags
    fingerprint: str


def scanned(rows: ShardedRows) -> Scan:
    """Reads all rows once, checks them, and takes the fingerprint of the same data in memory."""
    with ProgressDisplay(4 * rows.count, bar=True, unit="rows") as display:
        display.note(f"checking {rows.path.name}")
        return _scanned(rows, display)


def _scanned(rows: ShardedRows, progress: ProgressDisplay) -> Scan:
    masks, is_end = Flags(rows.count), Flags(rows.count)
    first, ends = 0, 0
    for piece in progress.through(rows.pieces("terminals")):
        is_end.write(first, piece != 0)
        first, ends = first + len(piece), ends + int(np.count_nonzero(piece))

    def rewards() -> Iterator[np.ndarray]:
        first = 0
        for found, own in rows.labels():
            masks.write(first, own != 0)
            first += len(own)
            yield found

    def starts() -> Iterator[np.ndarray]:
        for first, last in edges(rows.count):
            yield first + np.flatnonzero(~is_end.read(first, last))

    single, whole = np.dtype(np.float32), np.dtype(np.int32)
    shown = observation_dtype(rows.form)
    count, (observation_dim, action_dim) = rows.count, rows.widths
    fields: list[Field | str] = [
        (
            "observations",
            shown,
            (count, observation_dim),
            progress.through(rows.pieces("observations")),
        ),
        ("actions", single, (count, action_dim), progress.through(rows.pieces("actions"))),
        ("rewards", single, (count,), progress.through(rewards())),
        ("masks", single, (count,), (masks.read(*edges) for edges in edges(count))),
        ("transitions", whole, (count - ends,), starts()),
    ]
    constants: dict[str, object] = {"chunk": 1, "lookahead": 1}
    if rows.recorded is not None:
        constants |= rows.recorded.named
    for name, value in constants.items():
        fields.append(whole_field(name, value))
    if rows.form is not None:
        fields.append(form_field(rows.form))
    return Scan(is_end, masks, fingerprint(fields))
