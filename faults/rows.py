"""Every row of the table."""

from faults import cuts, damage, datasets, divergence, environments

ROWS = [*cuts.ROWS, *damage.ROWS, *datasets.ROWS, *divergence.ROWS, *environments.ROWS]
