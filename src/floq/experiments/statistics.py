"""Intervals over seeds, sound for the three or so seeds that experiments have."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from floq.evaluation import wilson_interval

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval.

    Attributes:
        mean: The mean over the seeds.
        low: Lower end; −∞ where nothing bounds it.
        high: Upper end; ∞ where nothing bounds it.
    """

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean over seeds, and Student's interval for it.

    Args:
        values: One figure for each seed. A single one has an unbounded interval, because it says
            nothing about how seeds differ.

    Raises:
        ValueError: If there is none.
    """
    count = len(values)
    if count == 0:
        raise ValueError("There is no value: give one for each seed.")
    mean = float(np.mean(values))
    if count == 1:
        return Interval(mean, -math.inf, math.inf)
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def success_interval(rates: Sequence[float], episodes: int) -> Interval:
    """The mean success rate over seeds, and an interval that holds both kinds of noise.

    It is the smallest interval that holds these two:

    - Student's over the seeds' rates, within [0, 1]. Seeds differ by training and by the episodes
      they happened to be given, so it speaks of both. But it has width 0 where all rates are
      equal, as three seeds with no success are, and with few seeds rates are easily close by luck.
    - Wilson's over all seeds' episodes taken together. It knows nothing of training, but no
      interval can honestly be narrower than what that many episodes can tell.

    With one seed only the latter is left: it then says nothing about training another seed.

    Args:
        rates: Share of successful episodes of each seed, in [0, 1].
        episodes: Episodes of each seed.

    Raises:
        ValueError: If there is no rate, or no episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}: a rate comes from one or more.")
    mean, low, high = mean_interval(rates)
    wilson_low, wilson_high = wilson_interval(mean, len(rates) * episodes)
    if len(rates) == 1:
        return Interval(mean, wilson_low, wilson_high)
    return Interval(mean, min(max(low, 0.0), wilson_low), max(min(high, 1.0), wilson_high))
