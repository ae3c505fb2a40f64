"""Runs a study: every variant with every seed, once, and what they come to."""

import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from floq.disk import replace_bytes, user_path, writable
from floq.interrupted import Interrupted
from floq.presets.demo import TASK
from floq.progress import ProgressDisplay
from floq.reports.figures import to_svg
from floq.studies.catalogue import STUDIES
from floq.studies.cells import Cells
from floq.studies.figure import comparison
from floq.studies.grounds import Ground, compute_cells, create_ground, find_study
from floq.studies.processes import compute_side_by_side
from floq.studies.results import rows_of, table_level, to_csv, to_markdown
from floq.studies.study import GroundName, Size, Study, Variant
from floq.training.signals import interruptions

_LABELS = {
    "error": "error / σ of the true values",
    "success": "success rate of episodes",
}


def list_studies(
    name: str = "", *, ground: GroundName = "value", size: Size = "small", task: str = TASK
) -> str:
    """The questions of all studies, or the variants of one, in words."""
    if name:
        study = find_study(name)
        variants = create_ground(ground, size, task, None).variants(study)
        return "\n".join([study.question, *(f"  {variant.name}" for variant in variants)])
    lines = []
    for study in STUDIES.values():
        lines += [study.name, textwrap.indent(study.question, "  ")]
    return "\n".join(lines)


def run_study(
    name: str,
    *,
    ground: GroundName = "value",
    size: Size = "small",
    task: str = TASK,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] = (),
    updates: int | None = None,
    processes: int | None = None,
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
        processes: Processes that compute variants side by side. By default one for each core where
            policies are trained on a CPU, and this one elsewhere.
        directory: The study's folder; runs/studies/NAME-GROUND-SIZE by default.
        progress: Whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no such study or variant, or if the folder's cells were computed
            with other settings.
        FileNotFoundError: If the task's data is not there.
        RuntimeError: If a process that computes a variant fails.
        OSError: If the folder cannot be written.
        Interrupted: If a signal asked to stop; everything is saved.
    """
    study = find_study(name)
    field = create_ground(ground, size, task, updates)
    chosen = _chosen(study, field.variants(study), variants)
    seeds = field.default_seeds if seeds is None else tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds are {tuple(seeds)}: give one or more from 0 on, all different.")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}: it must be at least 1.")
    field.check()
    path = writable(user_path(directory or Path("runs/studies") / f"{name}-{ground}-{size}"))
    grid = _Grid(field, chosen, seeds, path)
    grid.cells.record_versions()
    shared = {"study": name, "ground": ground, "size": size, "task": task, "updates": updates}
    with ProgressDisplay(grid.total, start=grid.done, bar=progress) as display:
        started, before = time.monotonic(), grid.done
        for note in _work(grid, shared, processes or field.processes):
            display.note(f"{name}: {note}")
            if grid.refresh():
                rate = (grid.done - before) / (time.monotonic() - started)
                display.update(grid.done, rate)
                if progress:
                    display.log(grid.done, rate)
    rows = rows_of(chosen, grid.found, study.reference, figure=field.figure)
    figure = comparison(rows, label=_LABELS[field.figure], level=table_level(grid.found, chosen))
    replace_bytes(path / "table.csv", to_csv(rows, figure=field.figure))
    text = to_markdown(rows, figure=field.figure, reference=study.reference)
    replace_bytes(path / "table.md", text.encode())
    replace_bytes(path / "figure.svg", to_svg(figure))
    return path


class _Grid:
    """Variants and seeds of a study, and the cells of them that are finished."""

    def __init__(
        self, field: Ground, variants: Sequence[Variant], seeds: Sequence[int], path: Path
    ):
        self.field, self.variants, self.seeds, self.path = field, variants, seeds, path
        self.cells = Cells(path)
        self._settings = {variant.name: field.settings(variant) for variant in variants}
        self.found: dict[str, dict[int, dict[str, Any]]] = {v.name: {} for v in variants}
        self.refresh()

    @property
    def total(self) -> int:
        """Updates of all cells."""
        return sum(self.field.updates(variant) for variant in self.variants) * len(self.seeds)

    @property
    def done(self) -> int:
        """Updates of the finished cells."""
        return sum(self.field.updates(v) * len(self.found[v.name]) for v in self.variants)

    def left(self, variant: Variant) -> list[int]:
        """Seeds that are not finished."""
        return [seed for seed in self.seeds if seed not in self.found[variant.name]]

    def refresh(self) -> bool:
        """Reads the cells that are new; whether there were any."""
        done = self.done
        for variant in self.variants:
            own = self._settings[variant.name]
            for seed in self.left(variant):
                cell = self.cells.read(variant.name, seed, own)
                if cell is not None:
                    self.found[variant.name][seed] = cell
        return self.done > done


def _work(grid: _Grid, shared: dict[str, Any], processes: int) -> Iterator[str]:
    """Computes what is left, and says again and again what it is at."""
    waiting = [variant for variant in grid.variants if grid.left(variant)]
    if min(processes, len(waiting)) < 2:
        for variant in waiting:
            yield variant.name
            for _ in compute_cells(grid.field, variant, grid.left(variant), grid.path):
                yield variant.name
        return
    folder = str(grid.path.absolute())
    jobs = [
        {**shared, "variant": variant.name, "seeds": grid.left(variant), "directory": folder}
        for variant in sorted(waiting, key=_cost, reverse=True)
    ]
    with interruptions() as stop:
        for running in compute_side_by_side(jobs, processes=processes, should_stop=stop):
            yield " and ".join(running)
    if stop.requested:
        raise Interrupted(grid.path, grid.done)


def _cost(variant: Variant) -> int:
    """What decides most how long a variant takes: begun first, the longest do not end alone."""
    return getattr(variant.critic, "integration_steps", 0)


def _chosen(study: Study, variants: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    unknown = set(names) - {variant.name for variant in variants}
    if unknown:
        known = "; ".join(variant.name for variant in variants)
        raise ValueError(
            f"{study.name} has no variant {', '.join(sorted(unknown))}: it has {known}."
        )
    return [variant for variant in variants if not names or variant.name in names]
