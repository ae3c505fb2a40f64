import numpy as np
import pytest


@pytest.fixture
def trajectories() -> dict[str, np.ndarray]:
    """Three sound trajectories of 4, 2 and 5 rows in OGBench's compact layout."""
    generator = np.random.default_rng(0)
    rows = 11
    terminals = np.zeros(rows, dtype=bool)
    terminals[[3, 5, 10]] = True
    return {
        "observations": generator.normal(size=(rows, 3)).astype(np.float32),
        "actions": generator.uniform(-0.9, 0.9, size=(rows, 2)).astype(np.float32),
        "rewards": -generator.integers(1, 4, size=rows).astype(np.float32),
        "masks": generator.integers(0, 2, size=rows).astype(np.float32),
        "terminals": terminals,
    }


@pytest.fixture
def file_arrays(trajectories) -> dict[str, np.ndarray]:
    """What a dataset file holds: trajectories with the simulator's state."""
    file_fields = ("observations", "actions", "terminals")
    rows = len(trajectories["observations"])
    return {field: trajectories[field] for field in file_fields} | {
        "qpos": np.zeros((rows, 4), dtype=np.float32),
        "qvel": np.zeros((rows, 4), dtype=np.float32),
    }
