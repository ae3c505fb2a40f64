"""The figures of a report as pictures, for those who show them elsewhere."""

from collections.abc import Iterator

import numpy as np

from floq.runs.run import Run


def pictures(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    yield from ()
