"""The grounds that a study can stand on, and how cells of it are computed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from floq.studies.catalogue import STUDIES
from floq.studies.cells import Cells
from floq.studies.control_ground import ControlGround
from floq.studies.study import GroundName, Size, Study, Variant
from floq.studies.value_ground import ValueGround

Ground = ValueGround | ControlGround
"""What variants mean, and how their cells are computed."""


def find_study(name: str) -> Study:
    """The study of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in STUDIES:
        raise ValueError(f"No study is called {name!r}: there are {', '.join(STUDIES)}.")
    return STUDIES[name]


def create_ground(ground: GroundName, size: Size, task: str, updates: int | None) -> Ground:
    """The ground of a name."""
    if ground == "value":
        return ValueGround(size, updates=updates)
    return ControlGround(size, task, updates=updates)


def compute_cells(
    field: Ground, variant: Variant, seeds: Sequence[int], directory: Path
) -> Iterator[None]:
    """Computes a variant's cells and writes them into the study's folder, one at a time."""
    settings, cells = field.settings(variant), Cells(directory)
    for seed, figures in field.run(variant, seeds, directory):
        cells.write(variant.name, seed, settings, figures)
        yield
