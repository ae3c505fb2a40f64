"""Every row of the table."""

from tests.faults import (
    cuts,
    damage,
    datasets,
    disks,
    divergence,
    endurance,
    environments,
    fuzz,
    hostile,
    own_environments,
    serving,
    settings,
    streams,
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
    *disks.ROWS,
    *streams.ROWS,
    *divergence.ROWS,
    *environments.ROWS,
    *own_environments.ROWS,
    *endurance.ROWS,
    *serving.ROWS,
    *fuzz.ROWS,
    *settings.ROWS,
]
