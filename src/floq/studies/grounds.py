"""The grounds that a study can stand on, and how cells of it are computed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from floq.studies.catalogue import STUDIES
from floq.studies.cells import Cells
from floq.studies.control_ground import ControlGround
from floq.studies.study import GroundName, Size, Study, Variant
from floq.studies.value_ground import ValueGround


@runtime_checkable
class Ground(Protocol):
    """A ground: what variants mean on it, and how their cells are computed."""

    figure: str
    default_seeds: tuple[int, ...]

    @property
    def processes(self) -> int:
        """Processes that are best spread over variants."""
        ...

    def check(self) -> None:
        """Raises what is wrong before any work starts."""
        ...

    def variants(self, study: Study) -> list[Variant]:
        """The study's variants."""
        ...

    def updates(self, variant: Variant) -> int:
        """Updates of each seed."""
        ...

    def settings(self, variant: Variant) -> Any:
        """Everything that determines a variant's figures, as JSON."""
        ...

    def run(
        self, variant: Variant, seeds: Sequence[int], directory: Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each seed with what it came to, as soon as it is done."""
        ...


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
