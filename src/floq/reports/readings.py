"""What is read of a critic, in words: of several K as the rows of a table, and of its members."""

import math
from typing import Any

from floq.inspection.integration_steps import StepReadings
from floq.intervals import Interval
from floq.reports import page


def readings_table(readings: StepReadings) -> tuple[list[str], list[list[str]]]:
    """The readings as the header and the rows of a table."""
    largest = readings.readings[-1].steps
    header = ["K", "error of Q", f"less that at K = {readings.trained}", "mean of Q − return"]
    header += ["Spearman", f"Q less Q at K = {largest}"]
    if any(one.result is not None for one in readings.readings):
        header.append(readings.figure)
    rows = []
    for one in readings.readings:
        rank = "–" if one.spearman is None else in_words(one.spearman)
        row = [f"{one.steps}", in_words(one.error), in_words(one.change)]
        row += [page.number(one.bias), rank, page.number(one.distance)]
        rows.append(row if one.result is None else [*row, in_words(one.result)])
    return header, rows


def in_words(found: Interval) -> str:
    """A number with its interval, if something bounds it."""
    if not math.isfinite(found.low):
        return page.number(found.mean)
    return f"{page.number(found.mean)} ({page.number(found.low)} to {page.number(found.high)})"


def of_members(config: Any) -> str:
    """What a critic's settings make of its members: such as "minimum"."""
    if config.aggregation == "min":
        return "minimum"
    return f"mean less {config.pessimism:g} standard deviations" if config.pessimism else "mean"
