"""The one table of a sweep: a row for every run and seed, at its final step."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from floq.disk import read_json, replace_bytes
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import EVALUATIONS, read_rows
from floq.sweeps.plan import PlannedRun, standing
from floq.sweeps.settings import spelled

TABLE = "table.csv"
_BEFORE = ("run", "task", "algorithm", "trial")
_AFTER = ("seed", "steps", "status", "success", "return", "length", "episodes", "state")
_NUMBERS = ("success", "return", "length")


class SweepRow(NamedTuple):
    """One seed of one run.

    Attributes:
        run: The run's directory in the sweep's.
        task: The task as tables show it, or the name of data of one's own.
        algorithm: The method's name in the spec.
        trial: Its number in a search; None in a grid.
        settings: What the spec varies, by dotted name, as text.
        seed: The seed.
        steps: Updates in all.
        status: "finished", "begun" or "not begun".
        success: Share of successful episodes of the policy after the last update; None if the
            environment reports no success, or the run is not finished.
        mean_return: Mean undiscounted return of these episodes.
        length: Their mean steps.
        episodes: Their number.
        state: First digits of the SHA-256 of the last checkpoint's arrays: equal bits have equal
            ones.
    """

    run: str
    task: str
    algorithm: str
    trial: int | None
    settings: Mapping[str, str]
    seed: int
    steps: int
    status: str
    success: float | None = None
    mean_return: float | None = None
    length: float | None = None
    episodes: int | None = None
    state: str = ""

    @property
    def figure(self) -> float | None:
        """The success, or the return where the environment reports no success."""
        return self.mean_return if self.success is None else self.success


def final_rows(directory: Path, run: PlannedRun) -> list[SweepRow]:
    """The rows of a run, one for each of its seeds.

    Raises:
        ValueError: If a file of the run is not sound.
    """
    settings = {key: spelled(value) for key, value in run.varied.items()}
    common = (run.name, run.shown_task, run.label, run.trial, settings)
    found = standing(directory, run)
    if not found.finished:
        status = "begun" if found.begun else "not begun"
        return [SweepRow(*common, seed, run.steps, status) for seed in run.seeds]
    path = directory / run.name
    state = _digest(checkpoint_paths(path / "checkpoints")[-1])
    last = {
        row["seed"]: row
        for row in read_rows(path / EVALUATIONS)
        if row["step"] == run.steps and row["policy"] == run.algorithm
    }
    rows = []
    for seed in run.seeds:
        row = last.get(seed, {})
        rows.append(
            SweepRow(
                *common,
                seed,
                run.steps,
                "finished",
                success=row.get("success"),
                mean_return=row.get("return"),
                length=row.get("length"),
                episodes=row.get("episodes"),
                state=state,
            )
        )
    return rows


def write_table(directory: Path, rows: Sequence[SweepRow]) -> Path:
    """Writes `table.csv` and `table.md`.

    Args:
        directory: The sweep's folder.
        rows: What they hold, in this order.

    Returns:
        The former.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    header = [*_BEFORE, *keys, *_AFTER]
    cells = [_cells(row, keys) for row in rows]
    with io.StringIO(newline="") as text:
        csv.writer(text, lineterminator="\n").writerows([header, *cells])
        replace_bytes(directory / TABLE, text.getvalue().encode())
    lines = [header, ["---"] * len(header), *(_rounded(header, line) for line in cells)]
    markdown = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    replace_bytes((directory / TABLE).with_suffix(".md"), markdown.encode())
    return directory / TABLE


def read_table(path: Path) -> list[SweepRow]:
    """The rows of `table.csv`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a table.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if tuple(names[: len(_BEFORE)]) != _BEFORE or tuple(names[-len(_AFTER) :]) != _AFTER:
            raise ValueError(
                f"{path} is not a sweep's table: its columns are {', '.join(names)}. Write it anew "
                "with `floq sweep`."
            )
        keys = names[len(_BEFORE) : -len(_AFTER)]
        try:
            return [_row(cells, keys) for cells in reader]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _digest(checkpoint: Path) -> str:
    return read_json(checkpoint / "manifest.json")["files"]["state.safetensors"]["sha256"][:16]


def _cells(row: SweepRow, keys: Sequence[str]) -> list[str]:
    values = [row.run, row.task, row.algorithm, row.trial]
    values += [row.settings.get(key) for key in keys]
    values += [row.seed, row.steps, row.status, row.success, row.mean_return]
    values += [row.length, row.episodes, row.state]
    return ["" if value is None else str(value) for value in values]


def _rounded(header: Sequence[str], cells: Sequence[str]) -> list[str]:
    """The cells with short numbers, for people to read."""
    return [
        f"{float(cell):.4g}" if name in _NUMBERS and cell else cell.replace("|", "\\|")
        for name, cell in zip(header, cells, strict=True)
    ]


def _row(cells: Mapping[str, Any], keys: Sequence[str]) -> SweepRow:
    success, mean_return, length = (
        float(cells[name]) if cells[name] else None for name in _NUMBERS
    )
    return SweepRow(
        run=cells["run"],
        task=cells["task"],
        algorithm=cells["algorithm"],
        trial=int(cells["trial"]) if cells["trial"] else None,
        settings={key: cells[key] for key in keys if cells[key]},
        seed=int(cells["seed"]),
        steps=int(cells["steps"]),
        status=cells["status"],
        success=success,
        mean_return=mean_return,
        length=length,
        episodes=int(cells["episodes"]) if cells["episodes"] else None,
        state=cells["state"],
    )
