"""What every collector shares: the arrays of an episode, and its own randomness."""

from typing import Any

import numpy as np

Episode = dict[str, np.ndarray]
"""The arrays of OGBench's files for some rows: name to `[rows, ...]`."""

DTYPES = {
    "observations": np.float32,
    "actions": np.float32,
    "terminals": np.bool_,
    "qpos": np.float32,
    "qvel": np.float32,
    "button_states": np.int64,
}
"""Element types of OGBench's files. Only scenes with buttons have `button_states`."""


def seed_episode(*entropy: int) -> tuple[np.random.Generator, int]:
    """Makes all that follows in this process a function of `entropy` alone.

    Seeds numpy's global generator, from which OGBench's mazes and controllers draw.

    Args:
        entropy: Non-negative integers that name the episode: run seed, episode, attempt.

    Returns:
        The collector's own generator, and the seed for the environment's reset.
    """
    generator = np.random.default_rng(entropy)
    global_seed, reset_seed = (int(seed) for seed in generator.integers(2**31, size=2))
    np.random.seed(global_seed)  # noqa: NPY002 (OGBench itself draws from the global generator)
    return generator, reset_seed


def pack_episode(columns: dict[str, list[Any]]) -> Episode:
    """Turns one trajectory's values, one list a column, into arrays; its last row is terminal."""
    episode = {
        # Images stay bytes.
        name: np.asarray(column, None if np.ndim(column[0]) == 3 else DTYPES[name])
        for name, column in columns.items()
        if column
    }
    terminals = np.zeros(len(columns["observations"]), dtype=DTYPES["terminals"])
    terminals[-1] = True
    return {**episode, "terminals": terminals}
