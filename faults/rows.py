"""Every row of the table."""

from faults import cuts, damage, datasets, divergence, environments, writes

ROWS = [
    *cuts.ROWS,
    *damage.ROWS,
    *datasets.ROWS,
    *writes.ROWS,
    *divergence.ROWS,
    *environments.ROWS,
]
