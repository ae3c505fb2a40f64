"""Every row of the table."""

from faults import (
    cuts,
    damage,
    datasets,
    divergence,
    endurance,
    environments,
    fuzz,
    hostile,
    settings,
    users,
    writes,
)

ROWS = [
    *cuts.ROWS,
    *damage.ROWS,
    *hostile.ROWS,
    *datasets.ROWS,
    *writes.ROWS,
    *divergence.ROWS,
    *environments.ROWS,
    *users.ROWS,
    *endurance.ROWS,
    *fuzz.ROWS,
    *settings.ROWS,
]
