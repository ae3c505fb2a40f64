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
    row
    for module in (
        *(cuts, damage, hostile, datasets, users, writes, disks, streams),
        *(divergence, environments, own_environments, endurance, serving, fuzz, settings),
    )
    for row in module.ROWS
]
