"""The figure of a study: its variants with their intervals, a panel for each axis."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from floq.intervals import Interval
from floq.reports.style import MUTED, add_legend, cycle, new_figure, style_axes
from floq.studies.results import VariantRow
from floq.studies.study import FLOPS


def comparison(rows: Sequence[VariantRow], *, label: str, level: float | None = None) -> Figure:
    """The rows' figures: lines over a number where there is one, else a name for each row.

    Beside lines over a number, a row without one is a dotted level in every panel.

    Args:
        rows: What to draw.
        label: What is drawn.
        level: A figure to compare with, drawn as a dashed line.
    """
    panels = list(dict.fromkeys(row.panel for row in rows if row.place is not None))
    lines = list(dict.fromkeys(row.line for row in rows))
    colours = dict(zip(lines, cycle(len(lines)), strict=True))
    if not panels:
        return _named(rows, label=label, level=level, colours=colours)
    figure = new_figure(3.9)
    shared: Axes | None = None
    for index, panel in enumerate(panels):
        axes = shared = figure.add_subplot(1, len(panels), index + 1, sharey=shared)
        own = [row for row in rows if row.panel == panel and row.place is not None]
        _lines(axes, own, colours)
        for row in rows:
            if row.place is None:
                axes.axhline(row.interval.mean, color=colours[row.line], linestyle=":")
        _place_axis(axes, own, panel)
        if level is not None:
            axes.axhline(level, color=MUTED, linestyle="--", linewidth=1.2)
        axes.tick_params(labelleft=index == 0)
        if index == 0:
            axes.set_ylabel(label)
        _value_axis(axes, rows, label)
    handles = [Line2D([], [], color=colours[line], marker="o", markersize=4.5) for line in lines]
    if level is not None:
        handles.append(Line2D([], [], color=MUTED, linestyle="--"))
        lines.append("a table filled from the same data")
    if lines != [""]:
        add_legend(figure, handles, lines, columns=4)
    return figure


def _lines(axes: Axes, rows: Sequence[VariantRow], colours: dict[str, str]) -> None:
    style_axes(axes)
    for line, colour in colours.items():
        own = sorted(
            (row for row in rows if row.line == line),
            key=lambda row: row.place or 0.0,
        )
        if not own:
            continue
        places = np.array([row.place for row in own])
        means = np.array([row.interval.mean for row in own])
        axes.plot(places, means, "-o", color=colour, linewidth=1.8, markersize=4.5)
        axes.errorbar(
            places, means, yerr=_whiskers([row.interval for row in own]),
            fmt="none", ecolor=colour, elinewidth=1, alpha=0.7, capsize=2.5,
        )  # fmt: skip


def _place_axis(axes: Axes, rows: Sequence[VariantRow], panel: str) -> None:
    """The axis of places: each of them a tick, on a log scale where they grow by factors."""
    places = sorted({row.place or 0.0 for row in rows})
    axes.set_xlabel(panel)
    if places[0] > 0 and places[-1] / places[0] >= 8:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if panel == FLOPS:
        low, high = places[0], places[-1]
        ticks = [tick for tick in np.outer(10.0 ** np.arange(3, 15), (1, 2, 5)).ravel()
                 if low * 0.99 <= tick <= high * 1.01]  # fmt: skip
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick / 1e6:g}M"))
    else:
        axes.set_xticks(places, [f"{place:g}" for place in places])


def _value_axis(axes: Axes, rows: Sequence[VariantRow], label: str) -> None:
    if label.startswith("success"):
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif all(np.isfinite(row.interval.mean) for row in rows):
        axes.set_ylim(bottom=0)


def _named(
    rows: Sequence[VariantRow], *, label: str, level: float | None, colours: dict[str, str]
) -> Figure:
    """A row of the figure for each row."""
    figure = new_figure(0.9 + 0.27 * len(rows))
    axes = figure.add_subplot()
    style_axes(axes)
    heights = np.arange(len(rows))[::-1]
    for height, row in zip(heights, rows, strict=True):
        axes.errorbar(
            row.interval.mean, height, xerr=_whiskers([row.interval]),
            fmt="o", color=colours[row.line], markersize=5, elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
    if level is not None:
        axes.axvline(level, color=MUTED, linestyle="--", linewidth=1.2)
    axes.set_yticks(heights, [row.variant for row in rows])
    axes.set_xlim(left=0)
    axes.set_xlabel(
        label + ("" if level is None else "; dashed: a table filled from the same data")
    )
    return figure


def _whiskers(intervals: Sequence[Interval]) -> np.ndarray:
    """Lengths below and above the means, none where nothing bounds them, [2, rows]."""
    lengths = np.array(
        [(each.mean - each.low, each.high - each.mean) for each in intervals], float
    ).T
    return np.where(np.isfinite(lengths), np.maximum(lengths, 0), 0)
