"""Figures of a sweep's report: intervals side by side, and performance profiles."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from floq.intervals import Interval
from floq.reports.style import INK, MUTED, add_legend, cycle, new_figure, style_axes
from floq.sweeps.comparison import THRESHOLDS, Profile

_LEGEND_ROW = 0.22


class Mark(NamedTuple):
    """A share with its interval, in a row of a figure.

    Attributes:
        row: The name of the row.
        line: What the legend calls it; empty if one colour is enough.
        interval: The share, in [0, 1].
        published: A published figure to put beside it.
    """

    row: str
    line: str
    interval: Interval
    published: float | None = None


def interval_rows(marks: Sequence[Mark], *, label: str, level: float | None = None) -> Figure:
    """Points with 95 % intervals, those of one row below each other; diamonds are published.

    Args:
        marks: What to draw, row by row.
        label: What is drawn.
        level: A share to compare with, drawn as a dashed line.
    """
    rows = list(dict.fromkeys(mark.row for mark in marks))
    lines = list(dict.fromkeys(mark.line for mark in marks))
    colours = dict(zip(lines, cycle(len(lines)), strict=True))
    named = lines != [""]
    height = 0.7 + 0.16 * len(rows) + 0.15 * len(rows) * len(lines)
    figure = new_figure(height + (_LEGEND_ROW * math.ceil(len(lines) / 2) if named else 0.0))
    axes = figure.add_subplot()
    style_axes(axes)
    for mark in marks:
        place = -rows.index(mark.row) - 0.8 * ((lines.index(mark.line) + 0.5) / len(lines) - 0.5)
        colour = colours[mark.line]
        if math.isfinite(mark.interval.low):
            axes.hlines(place, mark.interval.low, mark.interval.high, color=colour, linewidth=1.6)
        axes.plot(mark.interval.mean, place, "o", color=colour, markersize=5, clip_on=False)
        if mark.published is not None:
            axes.plot(mark.published, place, "D", color=colour, markersize=6, fillstyle="none")
    if level is not None:
        axes.axvline(level, color=MUTED, linestyle="--", linewidth=1.2)
    axes.set_yticks(-np.arange(len(rows)), rows, parse_math=False)
    axes.set_ylim(0.5 - len(rows), 0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(label)
    if named:
        handles = [Line2D([], [], color=colours[line], marker="o", markersize=5) for line in lines]
        if any(mark.published is not None for mark in marks):
            diamond = Line2D([], [], color=INK, marker="D", markersize=6)
            diamond.set(fillstyle="none", linestyle="none")
            handles, lines = [*handles, diamond], [*lines, "published"]
        add_legend(figure, handles, lines, columns=4)
    return figure


def profile_lines(found: Sequence[Profile]) -> Figure:
    """The share of runs above each success rate, with 95 % bands."""
    figure = new_figure(3.2 + _LEGEND_ROW * math.ceil(len(found) / 2))
    axes = figure.add_subplot()
    style_axes(axes)
    colours = cycle(len(found))
    for colour, profile in zip(colours, found, strict=True):
        if np.isfinite(profile.band).all():
            axes.fill_between(THRESHOLDS, *profile.band, step="post", color=colour, alpha=0.13)
        axes.step(THRESHOLDS, profile.shares, where="post", color=colour, linewidth=1.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("success rate τ")
    axes.set_ylabel("share of runs above τ")
    handles = [Line2D([], [], color=colour, linewidth=1.8) for colour in colours]
    add_legend(figure, handles, [profile.method for profile in found], columns=4)
    return figure
