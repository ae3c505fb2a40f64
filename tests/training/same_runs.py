"""Two runs that should have learned the same, up to rounding."""

import jax
import numpy as np

ALGORITHMS = ("bc", "fql")


def assert_close(ours, theirs, tolerance=1e-5):
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


def assert_same_run(ours, theirs, tolerance):
    """Networks are as close as the tolerance says, metrics and evaluations to 1e-4."""
    assert_close(ours.state.parameters, theirs.state.parameters, tolerance)
    for mine, other in ((ours.metrics, theirs.metrics), (ours.evaluations, theirs.evaluations)):
        assert len(mine) == len(other) > 0
        all_rows = (*mine, *other)
        rows = [[value for value in row.values() if value not in ALGORITHMS] for row in all_rows]
        assert_close(rows[: len(mine)], rows[len(mine) :], 1e-4)
