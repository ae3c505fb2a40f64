"""A small deterministic maze whose distances are known."""

import numpy as np

from floq.data.dataset import Dataset

WALLS = """
....#
.##..
.#.#.
...#.
"""
CELLS = [
    (row, column)
    for row, line in enumerate(WALLS.split())
    for column, mark in enumerate(line)
    if mark == "."
]
MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])


def following() -> np.ndarray:
    """The cell after each cell and move, [cells, moves]; against a wall one stays."""
    places = {cell: number for number, cell in enumerate(CELLS)}
    return np.array(
        [
            [places.get((row + down, column + right), places[row, column]) for down, right in MOVES]
            for row, column in CELLS
        ]
    )


def distances() -> np.ndarray:
    """Steps from each cell to each other one, [cells, cells], by as many rounds as there are."""
    after, far = following(), len(CELLS)
    found = np.where(np.eye(far, dtype=bool), 0, far)
    for _ in range(far):
        found = np.minimum(found, 1 + found[after].min(axis=1))
    return found


def walks(*, trajectories: int = 60, steps: int = 50, seed: int = 0) -> Dataset:
    """Random walks: an observation is the cell's row and column, and a clock from 0 to 1."""
    random, after = np.random.default_rng(seed), following()
    cells = np.zeros((trajectories, steps), int)
    moves = random.integers(0, len(MOVES), (trajectories, steps))
    cells[:, 0] = random.integers(0, len(CELLS), trajectories)
    for step in range(1, steps):
        cells[:, step] = after[cells[:, step - 1], moves[:, step - 1]]
    clock = np.tile(np.arange(1, steps + 1) / steps, trajectories)
    rows = trajectories * steps
    return Dataset.from_trajectories(
        np.column_stack([np.array(CELLS)[cells.ravel()], clock]),
        0.5 * MOVES[moves.ravel()],
        np.zeros(rows),
        np.ones(rows),
        clock == 1,
        layout="states",
    )
