"""The style that all figures share, without anything of matplotlib's global state."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

# Okabe and Ito's palette, which colour-blind people can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A7A00", "#000000")
INK, MUTED, PALE = "#222222", "#666666", "#BBBBBB"
_GRID = "#E6E6E6"
WIDTH = 8.8
"""Inches of a figure that is as wide as the page."""


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes) -> None:
    """Gives axes the style of all figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#AAAAAA")
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=MUTED, length=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(fontsize=8.5, color=INK)


def step_axis(axes: Axes, *, label: str | None = "updates", ticks: int = 7) -> None:
    """An x axis of updates, or of what else the label says, from 0 on."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: short(step)))
    if label:
        axes.set_xlabel(label)


def log_axis(axes: Axes) -> None:
    """A log scale with plain numbers on it, also where it spans less than a decade."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 2:
        low, high = axes.set_ylim(low / 1.3, high * 1.3)
    if high / low < 12:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 1e3 else (1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def add_legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], *, columns: int = 5
) -> None:
    """A legend above the axes.

    Args:
        figure: The figure.
        handles: What is named.
        labels: The names.
        columns: Names in a row; long ones take the place of two.
    """
    legend = figure.legend(
        handles,
        [str(index) for index in range(len(labels))],
        loc="outside upper left",
        ncols=min(len(labels), columns if max(map(len, labels)) < 25 else max(columns // 2, 1)),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
    )
    # Names come from folders: as labels, matplotlib would read formulas between dollar signs, and
    # leave out names that begin with an underscore.
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def cycle(count: int) -> list[str]:
    """That many colours, which repeat after eight."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def number(value: float) -> str:
    """Three digits of a number."""
    return f"{value:.3g}".replace("-", "−")


def short(step: float) -> str:
    """1500 as 1.5k, 2000000 as 2M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= size:
            return f"{step / size:g}{unit}"
    return f"{step:g}"
