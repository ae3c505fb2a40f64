"""Figures of a report, as matplotlib figures that belong to nobody's global state."""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from floq.extras import drawing

with drawing():
    import matplotlib.image
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, PercentFormatter

from floq.inspection.probe import FlowView, MazeView, RolloutView, from_straight_lines
from floq.reports.style import (
    COLOURS,
    INK,
    MUTED,
    PALE,
    WIDTH,
    add_legend,
    cycle,
    log_axis,
    new_figure,
    number,
    step_axis,
    style_axes,
)


class Curve(NamedTuple):
    """A figure of several seeds against updates.

    Attributes:
        label: What the legend says.
        steps: Updates, [points].
        per_seed: The figure of each seed, [seeds, points].
        band: Lower and upper end of the mean's interval, [2, points]; infinite where nothing bounds
            it, None to draw none.
        dashed: Whether the line is dashed, as baselines are.
    """

    label: str
    steps: np.ndarray
    per_seed: np.ndarray
    band: np.ndarray | None = None
    dashed: bool = False

    @property
    def mean(self) -> np.ndarray:
        """The mean over seeds, [points]."""
        return self.per_seed.mean(axis=0)


def to_svg(figure: Figure) -> bytes:
    """The figure as an SVG file that refers to no font of the reader's machine."""
    with io.BytesIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def to_png(picture: np.ndarray) -> bytes:
    """A picture, uint8 [height, width, 3], as a PNG file."""
    with io.BytesIO() as file:
        matplotlib.image.imsave(file, picture, format="png")
        return file.getvalue()


def to_array(figure: Figure) -> np.ndarray:
    """The figure as a picture, uint8 [height, width, 3]."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def learning_curves(curves: Sequence[Curve], *, name: str, axis: str = "updates") -> Figure:
    """An evaluation's figure against updates: thin lines are seeds, bands 95 % intervals.

    Args:
        curves: The lines.
        name: What is plotted: "success" is drawn as a share between 0 and 1.
        axis: What the curves' `steps` are: "updates", "steps" or "hours".
    """
    figure = new_figure(3.7)
    axes = figure.add_subplot()
    handles = []
    for colour, curve in zip(cycle(len(curves)), curves, strict=True):
        handles.append(draw_curve(axes, colour, curve))
    style_axes(axes)
    if axis != "hours":
        step_axis(axes, label=axis)
    else:
        axes.set_xlim(left=0)
        axes.set_xlabel(axis)
    if name == "success":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("success rate of episodes")
    else:
        axes.set_ylabel(f"{name} of an episode (sum of rewards)")
    add_legend(figure, handles, [curve.label for curve in curves])
    return figure


def draw_curve(axes: Axes, colour: str, curve: Curve) -> Line2D:
    """Draws seeds as thin lines, their mean as a thick one and its band; gives a handle for it."""
    line = "--" if curve.dashed else "-"
    axes.plot(curve.steps, curve.per_seed.T, color=colour, linewidth=0.8, alpha=0.4)
    if curve.band is not None and np.isfinite(curve.band).all():
        axes.fill_between(curve.steps, *curve.band, color=colour, alpha=0.13, linewidth=0)
    axes.plot(curve.steps, curve.mean, line, color=colour, linewidth=2.2, clip_on=False)
    # A single point is no line.
    axes.plot(curve.steps, curve.mean, "o", color=colour, markersize=4.5, clip_on=False)
    return Line2D([], [], color=colour, linestyle=line, marker="o", markersize=4.5)


def metric_panels(
    panels: Sequence[tuple[str, Sequence[Curve]]], *, axis: str = "updates"
) -> Figure:
    """A small panel for each metric; log scale where all its values are positive.

    Args:
        panels: Name of each metric, and a curve for each run.
        axis: What the curves' `steps` are: "updates" or "steps".
    """
    columns = 3
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(0.4 + 1.85 * rows)
    labels: list[str] = []
    colours = cycle(max(len(curves) for _, curves in panels))
    for index, (name, curves) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        for colour, curve in zip(colours, curves, strict=False):
            axes.plot(curve.steps, curve.per_seed.T, color=colour, linewidth=0.8, alpha=0.4)
            axes.plot(curve.steps, curve.mean, color=colour, linewidth=1.6)
        positive = all((curve.per_seed > 0).all() for curve in curves)
        style_axes(axes)
        if positive:
            log_axis(axes)
        axes.set_title(name, fontsize=8.5, color=INK, loc="left", parse_math=False)
        step_axis(axes, label=axis if index + columns >= len(panels) else None, ticks=3)
        labels = max(labels, [curve.label for curve in curves], key=len)
    if len(labels) > 1:
        add_legend(figure, [Line2D([], [], color=colour) for colour in colours], labels)
    return figure


def flow_trajectories(view: FlowView) -> Figure:
    """The flow z(t) from noise to value, and below it what it differs from straight lines by."""
    columns = min(len(view.labels), 3)
    rows = math.ceil(len(view.labels) / columns)
    figure = new_figure(0.5 + 3.3 * rows, width=WIDTH if columns == 3 else 0.33 * WIDTH * columns)
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[1.8, 1] * rows)
    interval: dict[str, Any] = {"color": "#000000", "linewidth": 5, "alpha": 0.75}
    members = view.paths.shape[1]
    # The later ones are thinner, so that the ones below show where members agree.
    widths = np.linspace(2.2, 1.0, members) if members > 1 else [1.4]
    shared: list[Any] = [None, None]
    for index, label in enumerate(view.labels):
        row, column = divmod(index, columns)
        paths = view.paths[index]
        for part, curves in enumerate((paths, from_straight_lines(view.times, paths))):
            place = grid[2 * row + part, column]
            axes = figure.add_subplot(place, sharex=shared[0], sharey=shared[part])
            shared[part] = axes
            for colour, width, member in zip(cycle(members), widths, curves, strict=True):
                axes.plot(view.times, member, color=colour, linewidth=width, zorder=3)
            style_axes(axes)
            axes.set_xlim(-0.04, 1.02)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
            axes.tick_params(labelbottom=part == 1, labelleft=column == 0)
            if column == 0:
                axes.set_ylabel("z − straight line" if part else "z (units of return)")
            if part:
                # Rounding is no curve.
                least = 1e-5 * float(np.abs(view.paths).max())
                low, high = axes.get_ylim()
                axes.set_ylim(min(low, -least), max(high, least))
                axes.axhline(0, color=PALE, linewidth=1, zorder=1)
                axes.set_xlabel("time t of the flow")
                continue
            axes.plot([0, 0], view.noise_interval, solid_capstyle="butt", **interval)
            axes.set_title(
                f"{label}; mean end {number(float(paths[:, -1].mean()))}",
                fontsize=8.5,
                color=INK,
                loc="left",
            )
            for member in paths:
                axes.plot([0, 1], member[[0, -1]], color=PALE, linewidth=0.8, zorder=1)
    lines = zip(cycle(members), widths, strict=True)
    handles = [Line2D([], [], color=colour, linewidth=width) for colour, width in lines]
    handles += [Line2D([], [], color=PALE, linewidth=1), Line2D([], [], **interval)]
    names = [f"member {index + 1}" for index in range(members)]
    add_legend(figure, handles, [*names, "straight line", "noise interval"])
    return figure


def value_along(view: RolloutView) -> Figure:
    """The learned value along a rollout, beside what followed if that is known."""
    figure = new_figure(2.9)
    axes = figure.add_subplot()
    handles = axes.plot(view.steps, view.values, color=COLOURS[0], linewidth=1.8)
    labels = ["learned value V(s)"]
    if view.outcomes is not None:
        handles += axes.plot(view.steps, view.outcomes, "--", color=COLOURS[4], linewidth=1.5)
        labels.append("discounted return that followed")
    style_axes(axes)
    axes.set_xlim(view.steps[0], max(view.steps[-1], 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("step of the rollout (environment steps)")
    axes.set_ylabel("value (units of return)")
    add_legend(figure, handles, labels)
    return figure


def value_map(view: MazeView) -> Figure:
    """The learned value over a maze from above, with the policy's arrows and a rollout."""
    left, right, bottom, top = view.extent
    aspect = (top - bottom) / (right - left)
    width = min(WIDTH * 0.8, 6.4 / aspect)
    figure = new_figure(width * 0.73 * aspect + 0.85, width=width)
    axes = figure.add_subplot()
    place: dict[str, Any] = {"extent": view.extent, "origin": "lower", "interpolation": "nearest"}
    walls = np.where(np.isnan(view.values), 1.0, np.nan)
    image = axes.imshow(view.values, cmap="viridis", **place)
    axes.imshow(walls, cmap=ListedColormap(["#4A4A4A"]), **place)
    if view.arrows is not None:
        # As long as a cell is wide where the action is largest.
        unit = (right - left) / view.values.shape[1] * 4
        axes.quiver(
            *view.centres.T,
            *(view.arrows * unit * 0.75).T,
            color="white",
            angles="xy",
            scale_units="xy",
            scale=1,
            pivot="mid",
            width=0.007,
            edgecolor="black",
            linewidth=0.5,
            zorder=3,
        )
    axes.plot(*view.path.T, color="black", linewidth=3.4, zorder=4)
    handles = axes.plot(*view.path.T, color="#FF8FC7", linewidth=2, zorder=5)
    for place_of, shape, size, colour in (
        (view.path[0], "o", 9, "white"),
        (view.goal, "*", 17, "#FFD500"),
    ):
        line = Line2D(*place_of[:, None], color=colour, marker=shape, markersize=size, zorder=6)
        line.set(linestyle="none", markeredgecolor="black")
        handles.append(axes.add_line(line))
    labels = ["rollout", "start", "goal"]
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("x (simulator units)")
    axes.set_ylabel("y (simulator units)")
    style_axes(axes)
    axes.grid(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=28, pad=0.02)
    bar.set_label("learned value V(s) (units of return)", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    add_legend(figure, handles, labels)
    return figure
