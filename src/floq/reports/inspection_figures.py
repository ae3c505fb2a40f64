"""Figures about the inside of a critic: panels of half the page's width."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator, PercentFormatter

from floq.inspection.flow_shape import FlowShape
from floq.inspection.integration_steps import StepReadings
from floq.inspection.returns import Calibration
from floq.intervals import Interval
from floq.reports.style import (
    COLOURS,
    INK,
    MUTED,
    WIDTH,
    add_legend,
    cycle,
    new_figure,
    number,
    style_axes,
)

_PANEL = (3.3, WIDTH / 2)
_BINS = 40


def deviation_over_time(shape: FlowShape) -> Figure:
    """What z(t) differs from its straight line by: the middle of all pairs, and 80 % of them."""
    figure, axes = _panel()
    axes.axhline(0, color=MUTED, linewidth=1)
    handles = _member_bands(axes, shape.times, shape.deviations)
    _time_axis(axes)
    axes.set_ylabel("z(t) − straight line (units of return)")
    add_legend(figure, handles, _members(handles), columns=3)
    return figure


def curvature(shape: FlowShape) -> Figure:
    """How many pairs have which mean distance from the straight line."""
    figure, axes = _panel()
    values = shape.curvature
    axes.hist(values, bins=_edges(values), color=COLOURS[0], alpha=0.75)
    line = axes.axvline(float(values.mean()), color=INK, linewidth=1.5)
    axes.set_xlabel("mean |z(t) − straight line| of a pair (units of return)")
    axes.set_ylabel("pairs (s, a)")
    add_legend(figure, [line], [f"mean {number(float(values.mean()))}"], columns=3)
    return figure


def spread(shape: FlowShape) -> Figure:
    """How much of the start is left in the end: for the critic's samples, over the pairs."""
    figure, axes = _panel()
    values = shape.spread
    axes.hist(values, bins=_edges(values, shape.noise_spread), color=COLOURS[0], alpha=0.75)
    middle = axes.axvline(float(np.median(values)), color=INK, linewidth=1.5)
    noise = axes.axvline(shape.noise_spread, color=COLOURS[4], linewidth=1.5, linestyle="--")
    axes.set_xlabel("standard deviation of ψ(1, z₀) over z₀ (units of return)")
    axes.set_ylabel("pairs (s, a)")
    names = [f"median {number(float(np.median(values)))}", f"of z₀: {number(shape.noise_spread)}"]
    add_legend(figure, [middle, noise], names, columns=3)
    return figure


def member_spread(shape: FlowShape) -> Figure:
    """The same for each member by itself."""
    figure, axes = _panel()
    values = shape.member_spread
    edges = _edges(values, shape.noise_spread)
    colours = cycle(values.shape[1])
    for colour, own in zip(colours, values.T, strict=True):
        axes.hist(own, bins=edges, histtype="step", color=colour, linewidth=1.8)
    noise = axes.axvline(shape.noise_spread, color=COLOURS[4], linewidth=1.5, linestyle="--")
    axes.set_xlabel("standard deviation of ψ(1, z₀) over z₀ (units of return)")
    axes.set_ylabel("pairs (s, a)")
    handles = [Line2D([], [], color=colour) for colour in colours]
    names = [f"member {index + 1}" for index in range(len(colours))]
    add_legend(figure, [*handles, noise], [*names, "of z₀"], columns=4)
    return figure


def slopes(shape: FlowShape) -> Figure:
    """∂v/∂z along the flow, with the region in which errors are damped shaded."""
    figure, axes = _panel()
    times = shape.times[:-1]
    handles: list[Artist] = [*_member_bands(axes, times, shape.slopes)]
    fine = np.linspace(0, times[-1], 200) if len(times) > 1 else np.array([0.0, 0.5])
    exact = axes.plot(fine, -1 / (1 - fine), "--", color=INK, linewidth=1.2)
    handles += exact
    names = [*_members(handles[:-1]), "−1 / (1 − t)"]
    low = min(axes.get_ylim()[0], -1.2 / (1 - fine[-1]))
    axes.axhline(0, color=MUTED, linewidth=1)
    if (kept := shape.kept_damping) > 0:
        bound = -kept / (1 - fine)
        axes.fill_between(fine, low, bound, color=COLOURS[2], alpha=0.13, linewidth=0, zorder=0)
        axes.plot(fine, bound, color=COLOURS[2], linewidth=1.2)
        handles.append(Patch(color=COLOURS[2], alpha=0.25))
        names.append(f"≤ −{number(kept)} / (1 − t)")
    axes.set_ylim(bottom=low)
    _time_axis(axes)
    axes.set_ylabel("∂v/∂z")
    add_legend(figure, handles, names, columns=2)
    return figure


def damping(shape: FlowShape) -> Figure:
    """The c in ∂v/∂z = −c / (1 − t) along the flow: level where the bound's form is right."""
    figure, axes = _panel()
    handles = _member_bands(axes, shape.times[:-1], shape.damping)
    handles.append(axes.axhline(1, color=INK, linewidth=1.2, linestyle="--"))
    handles.append(axes.axhline(shape.kept_damping, color=COLOURS[2], linewidth=1.5))
    axes.axhline(0, color=MUTED, linewidth=1)
    _time_axis(axes)
    axes.set_ylabel("c = −(1 − t) ∂v/∂z")
    names = [*_members(handles[:-2]), "c = 1", f"kept by 90 %: {number(shape.kept_damping)}"]
    add_legend(figure, handles, names, columns=2)
    return figure


def values_and_returns(found: Calibration) -> Figure:
    """Q of each decision against the return that followed."""
    figure, axes = _panel()
    axes.plot(found.values, found.returns, ".", color=COLOURS[0], markersize=3.5, alpha=0.35)
    _square(axes, found)
    axes.set_ylabel("return that followed")
    label = "undefined"
    if found.spearman is not None:
        label = _with_interval(found.spearman)
    handles = [Line2D([], [], marker=".", linestyle="none", color=COLOURS[0])]
    add_legend(figure, handles, [f"a decision; Spearman {label}"], columns=2)
    return figure


def calibration(found: Calibration) -> Figure:
    """Mean return of decisions of similar value, with intervals over episodes."""
    figure, axes = _panel()
    means = np.array([one.value for one in found.bins])
    outcomes = np.array([one.outcome for one in found.bins])
    ends = np.abs(outcomes[:, 1:] - outcomes[:, :1]).T
    bounded = np.isfinite(ends).all(axis=0)
    axes.errorbar(
        means[bounded],
        outcomes[bounded, 0],
        ends[:, bounded],
        fmt="none",
        color=COLOURS[0],
        capsize=3,
        linewidth=1.2,
    )
    axes.plot(means, outcomes[:, 0], "o-", color=COLOURS[0], markersize=4.5, linewidth=1.4)
    _square(axes, found)
    axes.set_ylabel("mean return, with its 95 % interval")
    handles = [Line2D([], [], color=COLOURS[0], marker="o", markersize=4.5)]
    share = f"one of {len(found.bins)} equal groups of decisions, from low Q to high"
    add_legend(figure, handles, [share], columns=2)
    return figure


def change_over_steps(found: StepReadings) -> Figure:
    """How values at each K differ in error from those of training, and from the finest ones."""
    figure, axes = _panel()
    steps = np.array([one.steps for one in found.readings])
    change = _interval_line(axes, steps, [one.change for one in found.readings], COLOURS[0])
    distances = [one.distance for one in found.readings]
    line = axes.plot(steps, distances, "s--", color=COLOURS[1], markersize=4, linewidth=1.4)
    axes.axhline(0, color=MUTED, linewidth=1)
    _steps_axis(axes, found)
    axes.set_ylabel("root mean square (units of return)")
    names = [f"error less that at K = {found.trained}", f"Q less Q at K = {steps[-1]}"]
    add_legend(figure, [change, *line], names, columns=4)
    return figure


def result_over_steps(found: StepReadings) -> Figure:
    """Success, or return, of the policy that reads its critic at each K."""
    figure, axes = _panel()
    steps = np.array([one.steps for one in found.readings])
    results = [one.result for one in found.readings if one.result is not None]
    line = _interval_line(axes, steps, results, COLOURS[2])
    _steps_axis(axes, found)
    if found.figure == "success":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("success rate of episodes" if found.figure == "success" else "mean return")
    add_legend(figure, [line], ["the policy at this K, with its 95 % interval"], columns=2)
    return figure


def _panel() -> tuple[Figure, Axes]:
    height, width = _PANEL
    figure = new_figure(height, width=width)
    axes = figure.add_subplot()
    style_axes(axes)
    return figure, axes


def _member_bands(axes: Axes, times: np.ndarray, values: np.ndarray) -> list[Line2D]:
    """A line and a band for each member of `values`, [pairs, ensemble, times, starts]."""
    handles = []
    for colour, own in zip(cycle(values.shape[1]), np.moveaxis(values, 1, 0), strict=True):
        low, middle, high = np.quantile(own, [0.1, 0.5, 0.9], axis=(0, 2))
        axes.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)
        handles += axes.plot(times, middle, "o-", color=colour, markersize=3.5, linewidth=1.6)
    return handles


def _members(handles: Sequence[Artist]) -> list[str]:
    return [f"member {index + 1}" for index in range(len(handles))]


def _time_axis(axes: Axes) -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("time t of the flow")


def _edges(values: np.ndarray, *others: float) -> list[float]:
    """Bins from 0 to the largest value, or to another one beyond it."""
    return np.linspace(0, 1.05 * max(float(values.max()), *others, 1e-9), _BINS + 1).tolist()


def _square(axes: Axes, found: Calibration) -> None:
    """Both axes over all that is drawn, with the diagonal."""
    ends = np.concatenate([found.values, found.returns])
    low, high = float(ends.min()), float(ends.max())
    margin = 0.04 * max(high - low, 1e-6)
    axes.axline((low, low), slope=1, color=INK, linewidth=1.1, linestyle="--", zorder=1)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("learned value Q(s, a)")


def _steps_axis(axes: Axes, found: StepReadings) -> None:
    steps = [one.steps for one in found.readings]
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(steps, [str(count) for count in steps])
    axes.axvline(found.trained, color=MUTED, linewidth=1, linestyle=":")
    axes.set_xlabel(f"integration steps K (dotted: {found.trained}, of training)")


def _interval_line(
    axes: Axes, places: np.ndarray, intervals: Sequence[Interval], colour: str
) -> Line2D:
    values = np.array(intervals)
    if np.isfinite(values).all():
        axes.fill_between(places, *values[:, 1:].T, color=colour, alpha=0.15, linewidth=0)
    return axes.plot(places, values[:, 0], "o-", color=colour, markersize=4.5, linewidth=1.6)[0]


def _with_interval(found: Interval) -> str:
    spread = f" [{number(found.low)}, {number(found.high)}]" if np.isfinite(found.low) else ""
    return f"{number(found.mean)}{spread}"
