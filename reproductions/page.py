"""The results as files small enough to commit: summary, table, curves and a figure."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from floq.intervals import success_interval
from floq.reports.figures import Curve, draw_curve
from floq.reports.style import COLOURS, INK, add_legend, new_figure, step_axis, style_axes
from floq.runs.files import json_bytes, replace_bytes
from reproductions.summary import CURVE_COLUMNS, CURVES, SUMMARY, Row, curves_of

_TITLE = "# Success on OGBench, beside the published figures"
_EXPLANATION = """\
Success is in percent of episodes, at the last evaluation, with the 95 % interval of the mean over
seeds. Published figures (arXiv 2509.06863) are after 2 million updates with 3 seeds, those of FQL
after 1 million where ours took no more; for single tasks there are only independent runs of floq.
Updates/s are those of each seed, while all of them train side by side. Minutes are those of the
device, with compilation and evaluation."""
_SHOWN_VERSIONS = ("python", "jax", "jaxlib", "numpy", "mujoco", "ogbench", "git_commit",
                   "matmul_precision")  # fmt: skip


def write_page(folder: Path, summary: Row, points: Sequence[Row]) -> None:
    """Writes `summary.json`, `table.md`, `curves.csv` and, once there is a point, `curves.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_bytes(folder / SUMMARY, json_bytes(summary))
    replace_bytes(folder / "table.md", page_text(summary).encode())
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, CURVE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(points)
        replace_bytes(folder / CURVES, file.getvalue().encode())
    if points:
        replace_bytes(folder / "curves.png", figure(points, summary))


def page_text(summary: Row) -> str:
    """The page of tables."""
    parts = [_TITLE, _EXPLANATION]
    if any(row["settings"]["small"] for row in summary["rows"]):
        parts.append("**A trial with tiny networks: it shows that everything runs, no more.**")
    header = ["task", "method", "K", "seeds", "updates", "success", "by seed", "published"]
    header += ["updates/s", "device memory", "minutes", "state"]
    parts.append(_table(header, [_run_cells(row) for row in summary["rows"]]))
    if summary["means"]:
        cells = [
            [
                mean["dataset"],
                mean["method"],
                f"{mean['updates']:,}",
                _percent(mean),
                _rate(mean["published"]),
            ]
            for mean in summary["means"]
        ]
        header = ["dataset", "method", "updates", "success", "published"]
        parts += ["## Mean over the five tasks", _table(header, cells)]
    if summary["pairs"]:
        cells = [
            [pair["job"], f"{pair['step']:,}", _percent(pair)]
            for pair in sorted(summary["pairs"], key=lambda pair: pair["task"])
        ]
        parts += ["## At the same number of updates", _table(["run", "updates", "success"], cells)]
    parts += ["![Success against updates](curves.png)", *_measured(summary)]
    return "\n\n".join(parts) + "\n"


def _run_cells(row: Row) -> list[str]:
    success, memory = row["success"], row["peak_memory_bytes"]
    evaluated = "" if success is None or success["step"] == row["updates"] else (
        f", evaluated at {success['step']:,}"
    )  # fmt: skip
    rate = row["updates_per_second"]
    return [
        row["task"].removesuffix("-v0").replace("-singletask", ""),
        row["method"],
        _or_dash(row["integration_steps"]),
        " ".join(map(str, row["settings"]["seeds"])),
        f"{row['updates']:,}{evaluated}",
        "–" if success is None else _percent(success),
        "–" if success is None else " ".join(_rate(one) for one in success["per_seed"]),
        _rate(row["published"]),
        "–" if rate is None else f"{rate:,.0f}",
        "–" if memory is None else f"{memory / 2**30:.1f} GiB",
        f"{row['minutes']:.1f}",
        f"failed: {row['failure']}" if row["failure"] else "done" if row["done"] else "unfinished",
    ]


def _measured(summary: Row) -> list[str]:
    """How the figures came about: commands, devices and versions."""
    commands = dict.fromkeys(call["command"] for call in summary["calls"])
    versions = [row["versions"][-1] for row in summary["rows"]]
    kinds = dict.fromkeys(
        f"- {one['device']} ({one['backend']}), {one['cpus']} cores: "
        + ", ".join(f"{name} {_or_dash(one[name])}" for name in _SHOWN_VERSIONS)
        for one in versions
    )
    left = f"Left to do: {', '.join(summary['left'])}." if summary["left"] else "All jobs are done."
    return [
        "## How it was measured",
        "```\n" + "\n".join(commands) + "\n```",
        f"{summary['minutes']:.1f} minutes in all, data included. {left}",
        "\n".join(kinds),
    ]


def figure(points: Sequence[Row], summary: Row) -> bytes:
    """Success against updates, as a PNG file: a panel for each task; dotted lines are published."""
    tasks = list(dict.fromkeys(point["task"] for point in points))
    columns = min(len(tasks), 3)
    lines = math.ceil(len(tasks) / columns)
    drawn = new_figure(0.6 + 2.3 * lines)
    rows = {row["job"]: row for row in summary["rows"]}
    labels = {job: _label(rows[job]) for job in dict.fromkeys(point["job"] for point in points)}
    colours = dict(zip(dict.fromkeys(labels.values()), COLOURS, strict=False))
    for index, task in enumerate(tasks):
        axes = drawn.add_subplot(lines, columns, index + 1)
        for job, curve in curves_of([one for one in points if one["task"] == task]).items():
            label = labels[job]
            draw_curve(axes, colours[label], _curve(label, curve))
            if rows[job]["published"] is not None and "-k" not in job:
                axes.axhline(rows[job]["published"], color=colours[label], linestyle=":")
        style_axes(axes)
        step_axis(axes, ticks=4)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        title = task.removesuffix("-v0").replace("-singletask", "")
        axes.set_title(title, fontsize=8.5, color=INK, loc="left")
        if index % columns == 0:
            axes.set_ylabel("success rate of episodes")
    handles = [Line2D([], [], color=colour, linewidth=2.2) for colour in colours.values()]
    add_legend(drawn, handles, list(colours))
    with io.BytesIO() as file:
        drawn.savefig(file, format="png", dpi=150)
        return file.getvalue()


def _label(row: Row) -> str:
    steps = row["integration_steps"]
    return row["method"] if steps is None else f"{row['method']}, K = {steps}"


def _curve(label: str, curve: dict[int, tuple[list[float], int]]) -> Curve:
    steps = sorted(curve)
    bands = [success_interval(*curve[step])[1:] for step in steps]
    per_seed = np.array([curve[step][0] for step in steps]).T
    return Curve(label, np.array(steps), per_seed, np.array(bands).T)


def _percent(found: Row) -> str:
    low, high = found["interval"]
    return f"{_rate(found['mean'])} ({_rate(low)} to {_rate(high)})"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def _or_dash(value: Any) -> str:
    return "–" if value is None else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines
    )
