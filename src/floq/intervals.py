"""Figures over seeds and tasks, with intervals that are sound for the few seeds experiments have.

Aggregates over tasks are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", 2021 (arXiv 2108.13264), for scores on one scale, such as success rates.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2_000

Scores = Mapping[str, np.ndarray]
"""The scores of a method by task, [..., seeds]; tasks may have different numbers of seeds."""


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

    @property
    def ends(self) -> list[float | None]:
        """Both ends for JSON, which has no infinity: None where nothing bounds them."""
        return [end if math.isfinite(end) else None for end in (self.low, self.high)]


def wilson_interval(rate: float, episodes: int) -> tuple[float, float]:
    """Wilson's 95 % interval for the chance of success, given the observed rate."""
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    shrink = 1 + z**2 / episodes
    centre = (rate + z**2 / (2 * episodes)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / episodes + z**2 / (4 * episodes**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean, and Student's interval for it.

    Args:
        values: One figure for each seed, or episode. A single one has an unbounded interval,
            because it says nothing about how they differ.

    Raises:
        ValueError: If there is none.
    """
    count = len(values)
    if count == 0:
        raise ValueError("There is no value: give one for each seed.")
    from scipy.special import stdtrit  # Takes a third of a second, which no first update waits for.

    mean = float(np.mean(values))
    if count == 1:
        return Interval(mean, -math.inf, math.inf)
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
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


def figure_interval(figure: str, values: Sequence[float], episodes: int) -> Interval:
    """What `success_interval` says of a success, and `mean_interval` of another figure.

    Args:
        figure: "success", or another name.
        values: The figure of each seed.
        episodes: Episodes of each seed.
    """
    return success_interval(values, episodes) if figure == "success" else mean_interval(values)


def task_mean(scores: Scores) -> np.ndarray:
    """The mean over tasks of the mean over seeds, [...]."""
    return np.asarray(np.mean([values.mean(axis=-1) for values in scores.values()], axis=0))


def interquartile_mean(scores: Scores) -> np.ndarray:
    """The mean of the middle half of all runs of all tasks together, [...] (section 4.3).

    A quarter of the runs, rounded down, is cut off at either end, so that neither a task that
    everything solves nor a single lucky run decides.
    """
    runs = np.sort(np.concatenate(list(scores.values()), axis=-1), axis=-1)
    count = runs.shape[-1]
    return np.asarray(runs[..., count // 4 : count - count // 4].mean(axis=-1))


def improvement_probability(scores: Scores, others: Scores) -> np.ndarray:
    """How probably a run of one method beats one of another, [...], both on one random task.

    The mean over tasks of P(X > Y) + P(X = Y) / 2 (section 4.3; the Mann-Whitney U statistic
    divided by the number of pairs).

    Raises:
        ValueError: If the methods have not been run on the same tasks.
    """
    if scores.keys() != others.keys():
        missing = sorted(scores.keys() ^ others.keys())
        raise ValueError(f"Only one of the two methods has {', '.join(missing)}.")
    wins = []
    for task, values in scores.items():
        first, second = values[..., :, None], others[task][..., None, :]
        wins.append(np.mean((first > second) + 0.5 * (first == second), axis=(-2, -1)))
    return np.asarray(np.mean(wins, axis=0))


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """The share of runs that score above each threshold, [..., thresholds] (section 4.2).

    Every task counts the same: it is the mean over tasks of the share of their runs.
    """
    shares = [
        np.mean(values[..., None, :] > thresholds[:, None], axis=-1) for values in scores.values()
    ]
    return np.asarray(np.mean(shares, axis=0))


def bootstrap_interval(
    statistic: Callable[..., np.ndarray],
    *methods: Scores,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic with its 95 % interval by the stratified bootstrap (section 4.1).

    Seeds are drawn anew, with replacement, within each task of each method; tasks are not drawn,
    because they are what the statistic is about. The interval is that of the percentiles; nothing
    bounds it where a task has one seed, which would be drawn every time.

    Args:
        statistic: A function of scores, such as `interquartile_mean`, over leading axes.
        methods: Its arguments.
        resamples: Times to draw.
        seed: Of the draws: the same one gives the same interval.

    Returns:
        The statistic, and the lower and the upper end.
    """
    generator = np.random.default_rng(seed)
    drawn = [
        {
            task: values[generator.integers(values.size, size=(resamples, values.size))]
            for task, values in scores.items()
        }
        for scores in methods
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(statistic(*drawn), [tail, 1 - tail], axis=0)
    if any(values.size == 1 for scores in methods for values in scores.values()):
        low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
    return statistic(*methods), np.asarray(low), np.asarray(high)
