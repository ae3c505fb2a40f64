"""Every row of the table."""

from faults import (
    cuts,
    damage,
    datasets,
    disks,
    divergence,
    endurance,
    environments,
    fuzz,
    hostile,
    streams,
    writes,
)

ROWS = [
    *cuts.ROWS,
    *damage.ROWS,
    *hostile.ROWS,
    *datasets.ROWS,
    *writes.ROWS,
    *disks.ROWS,
    *streams.ROWS,
    *divergence.ROWS,
    *environments.ROWS,
    *endurance.ROWS,
    *fuzz.ROWS,
]
