"""What the cells of a study come to: a row for each variant and reading, with intervals."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from floq.intervals import Interval, figure_interval, mean_interval
from floq.studies.study import FLOPS, Variant

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""The cells by variant and seed."""


class VariantRow(NamedTuple):
    """A variant, read in one way, over seeds; figures are those of the last point of training.

    Attributes:
        variant: The variant's name.
        reading: The reading's name.
        panel: The panel of the figure, by the label of its axis.
        line: The line in it.
        place: The place on the axis; None where it has no number.
        seeds: Number of seeds.
        interval: The figure's mean over seeds with its 95 % interval.
        difference: Mean of the differences to the reference, seed by seed; None for the reference
            itself, or where no seed is shared.
        parameters: Numbers in all arrays of the critic (on control: of the whole state).
        flops: Floating-point operations of an update.
        seconds: Seconds of an update, the mean over seeds.
        probes: Means of what else was followed.
    """

    variant: str
    reading: str
    panel: str
    line: str
    place: int | float | None
    seeds: int
    interval: Interval
    difference: Interval | None
    parameters: int
    flops: float
    seconds: float
    probes: dict[str, float]


def rows_of(
    variants: Sequence[Variant], found: Found, reference: str, *, figure: str
) -> list[VariantRow]:
    """The rows of every variant that has cells, in the order of the variants.

    Args:
        variants: The study's variants.
        found: The cells.
        reference: The variant to compare with, by its first reading.
        figure: "success", a rate of episodes, or "error".
    """
    base = _last(found.get(reference, {}), None)
    rows = []
    for variant in variants:
        cells = found.get(variant.name, {})
        if not cells:
            continue
        readings = next(iter(cells.values()))["figures"]
        places = {reading.name: reading.place for reading in variant.readings}
        for reading in readings:
            own = _last(cells, reading)
            is_base = variant.name == reference and reading == next(iter(readings))
            any_cell = next(iter(cells.values()))
            interval = figure_interval(figure, list(own.values()), any_cell.get("episodes", 0))
            place = places.get(reading)
            if place is None:
                place = any_cell["flops"] if variant.panel == FLOPS else variant.place
            rows.append(
                VariantRow(
                    variant=variant.name,
                    reading=reading,
                    panel=variant.panel,
                    line=variant.line,
                    place=place,
                    seeds=len(own),
                    interval=interval,
                    difference=None if is_base else _difference(own, base),
                    parameters=any_cell["parameters"],
                    flops=any_cell["flops"],
                    seconds=float(np.mean([cell["seconds"] for cell in cells.values()])),
                    probes=_probes(cells),
                )
            )
    return rows


def table_level(found: Found, variants: Sequence[Variant]) -> float | None:
    """The mean error of a table filled from the same data, if all variants have the same data."""
    levels = {
        tuple(cell["table"] for _, cell in sorted(found[variant.name].items()))
        for variant in variants
        if found.get(variant.name)
        and all(cell.get("table") is not None for cell in found[variant.name].values())
    }
    return float(np.mean(next(iter(levels)))) if len(levels) == 1 else None


def to_csv(rows: Sequence[VariantRow], *, figure: str) -> bytes:
    """The rows as CSV, with every number in full."""
    probes = list(dict.fromkeys(name for row in rows for name in row.probes))
    header = ["variant", "reading", "seeds", figure, "low", "high"]
    header += ["difference", "difference_low", "difference_high"]
    header += ["parameters", "flops_per_update", "seconds_per_update", *probes]
    with io.StringIO(newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            cost = [row.parameters, row.flops, row.seconds]
            numbers = [*row.interval, *(row.difference or ("", "", "")), *cost]
            extra = [row.probes.get(name, "") for name in probes]
            writer.writerow([row.variant, row.reading, row.seeds, *numbers, *extra])
        return file.getvalue().encode()


def to_markdown(rows: Sequence[VariantRow], *, figure: str, reference: str) -> str:
    """The rows as a table for people."""
    probes = list(dict.fromkeys(name for row in rows for name in row.probes))
    several = len({row.reading for row in rows}) > 1
    header = ["variant", *(["reading"] if several else []), f"{figure} (95 %)"]
    header += [f"against {reference}", "seeds", "parameters", "MFLOP an update", "ms an update"]
    lines = [[*header, *probes]]
    for row in rows:
        cells = [row.variant, *([row.reading] if several else []), _in_words(row.interval)]
        cells += ["–" if row.difference is None else _in_words(row.difference, sign="+")]
        cells += [str(row.seeds), f"{row.parameters:,}", f"{row.flops / 1e6:.4g}"]
        cells += [f"{row.seconds * 1e3:.3g}"]
        lines.append([*cells, *(f"{row.probes[name]:.3g}" if name in row.probes else "–"
                                for name in probes)])  # fmt: skip
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(text) + "\n"


def _last(cells: Mapping[int, Mapping[str, Any]], reading: str | None) -> dict[int, float]:
    """The figure of each seed at the last point; infinite where training diverged."""
    values = {}
    for seed, cell in sorted(cells.items()):
        points = cell["figures"][reading or next(iter(cell["figures"]))]
        values[seed] = math.inf if points[-1] is None else points[-1]
    return values


def _difference(own: Mapping[int, float], base: Mapping[int, float]) -> Interval | None:
    shared = [seed for seed in own if seed in base]
    return mean_interval([own[seed] - base[seed] for seed in shared]) if shared else None


def _probes(cells: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    names = next(iter(cells.values())).get("probes", {})
    return {
        name: float(np.mean([cell["probes"][name][-1] for cell in cells.values()]))
        for name in names
    }


def _in_words(interval: Interval, *, sign: str = "") -> str:
    mean, low, high = (f"{value:{sign}.3f}".replace("-", "−") for value in interval)
    return f"{mean} [{low}, {high}]" if math.isfinite(interval.low) else mean
