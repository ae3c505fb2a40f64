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
    own_environments,
    settings,
    users,
    writes,
)

ROWS = [
    *cuts.ROWS,
    *damage.ROWS,
    *hostile.ROWS,
    *datasets.ROWS,
    *users.ROWS,
    *writes.ROWS,
    *divergence.ROWS,
    *environments.ROWS,
    *own_environments.ROWS,
    *endurance.ROWS,
    *fuzz.ROWS,
    *settings.ROWS,
]
