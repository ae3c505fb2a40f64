"""Runs a study: every variant with every seed, once, and what they come to."""

import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from floq.experiments.figures import to_svg
from floq.experiments.studies.catalogue import STUDIES
from floq.experiments.studies.cells import Cells
from floq.experiments.studies.control_ground import ControlGround
from floq.experiments.studies.figure import comparison
from floq.experiments.studies.results import rows_of, table_level, to_csv, to_markdown
from floq.experiments.studies.study import Ground, Size, Study, Variant
from floq.experiments.studies.value_ground import ValueGround
from floq.training.files import replace_bytes
from floq.training.progress import ProgressDisplay

_LABELS = {
    "error": "error / σ of the true values",
    "success": "success rate of episodes",
}


@runtime_checkable
class Field(Protocol):
    """A ground: what variants mean on it, and how their cells are computed."""

    figure: str
    default_seeds: tuple[int, ...]

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


def list_studies(name: str = "", *, ground: Ground = "value", size: Size = "small") -> str:
    """The questions of all studies, or the variants of one, in words."""
    if name:
        study = _find(name)
        variants = _field(ground, size, "", None).variants(study)
        return "\n".join([study.question, *(f"  {variant.name}" for variant in variants)])
    lines = []
    for study in STUDIES.values():
        lines += [study.name, textwrap.indent(study.question, "  ")]
    return "\n".join(lines)


def run_study(
    name: str,
    *,
    ground: Ground = "value",
    size: Size = "small",
    task: str = "pointmaze-medium-navigate-singletask-task1-v0",
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] = (),
    updates: int | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Runs what is left of a study, and writes `table.csv`, `table.md` and `figure.svg`.

    Every finished cell (a variant with a seed) is a file of its own, so that a study that was cut
    goes on where it was, and one that gets more seeds computes only those.

    Args:
        name: The study, one of `STUDIES`.
        ground: "value", where the truth is known, or "control", which trains policies.
        size: "small" for minutes on two cores, "full" for an accelerator.
        task: What policies are trained on, on the control ground.
        seeds: Seeds; by default as many as the ground needs.
        variants: Names of the variants to run, if not all.
        updates: Updates of every variant, if not those of the size.
        directory: The study's folder; runs/studies/NAME-GROUND-SIZE by default.
        progress: Whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no such study or variant, or if the folder's cells were computed
            with other settings.
    """
    study = _find(name)
    field = _field(ground, size, task, updates)
    chosen = _chosen(study, field.variants(study), variants)
    seeds = field.default_seeds if seeds is None else tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds are {tuple(seeds)}: give one or more from 0 on, all different.")
    path = Path(directory or Path("runs/studies") / f"{name}-{ground}-{size}")
    cells = Cells(path)
    settings = {variant.name: field.settings(variant) for variant in chosen}
    found = {
        variant.name: {
            seed: cell
            for seed in seeds
            if (cell := cells.read(variant.name, seed, settings[variant.name])) is not None
        }
        for variant in chosen
    }
    cells.record_versions()
    total = sum(field.updates(variant) * len(seeds) for variant in chosen)
    done = sum(field.updates(variant) * len(found[variant.name]) for variant in chosen)
    with ProgressDisplay(total, start=done, bar=progress) as display:
        started, before = time.monotonic(), done
        for variant in chosen:
            left = [seed for seed in seeds if seed not in found[variant.name]]
            display.note(f"{study.name}: {variant.name}")
            for seed, figures in field.run(variant, left, path) if left else ():
                own = settings[variant.name]
                found[variant.name][seed] = cells.write(variant.name, seed, own, figures)
                done += field.updates(variant)
                rate = (done - before) / (time.monotonic() - started)
                display.update(done, rate)
                if progress:
                    display.log(done, rate)
    rows = rows_of(chosen, found, study.reference, figure=field.figure)
    figure = comparison(rows, label=_LABELS[field.figure], level=table_level(found, chosen))
    replace_bytes(path / "table.csv", to_csv(rows, figure=field.figure))
    text = to_markdown(rows, figure=field.figure, reference=study.reference)
    replace_bytes(path / "table.md", text.encode())
    replace_bytes(path / "figure.svg", to_svg(figure))
    return path


def _field(ground: Ground, size: Size, task: str, updates: int | None) -> Field:
    if ground == "value":
        return ValueGround(size, updates=updates)
    return ControlGround(size, task, updates=updates)


def _find(name: str) -> Study:
    if name not in STUDIES:
        raise ValueError(f"No study is called {name!r}: there are {', '.join(STUDIES)}.")
    return STUDIES[name]


def _chosen(study: Study, variants: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    unknown = set(names) - {variant.name for variant in variants}
    if unknown:
        known = "; ".join(variant.name for variant in variants)
        raise ValueError(
            f"{study.name} has no variant {', '.join(sorted(unknown))}: it has {known}."
        )
    return [variant for variant in variants if not names or variant.name in names]
