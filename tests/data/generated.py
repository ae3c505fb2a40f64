"""Small generated datasets: how they are made and read."""

from pathlib import Path
from typing import Any

import numpy as np

from floq.data.generation import generate

MAZE = "pointmaze-medium-navigate-v0"


def make(directory: Path, name: str = MAZE, **options: Any) -> Path:
    defaults = {"episodes": 12, "steps": 40, "progress": False}
    return generate(name, directory=directory, **{**defaults, **options})


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
