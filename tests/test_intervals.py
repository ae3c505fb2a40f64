import math

import numpy as np
import pytest

from floq.intervals import (
    Interval,
    bootstrap_interval,
    improvement_probability,
    interquartile_mean,
    mean_interval,
    performance_profile,
    success_interval,
    task_mean,
)


def scores(**tasks):
    return {task: np.array(values, float) for task, values in tasks.items()}


def test_student_interval_of_three_seeds():
    """For 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.3027, so 2 ± 4.3027 / √3 = 2 ± 2.4841."""
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)


def test_single_seed_bounds_nothing():
    """One seed does not say how seeds differ."""
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf)


def test_equal_seeds_keep_the_noise_of_their_episodes():
    """Two seeds without a success in 5 episodes: Wilson's z² / (n + z²) with n = 10, not [0, 0]."""
    high = 3.8415 / 13.8415
    assert success_interval([0.0, 0.0], 5) == pytest.approx((0.0, 0.0, high), abs=1e-4)


def test_perfect_seeds_do_not_promise_perfection():
    """Three seeds that succeed in all of 20 episodes: the lower end is n / (n + z²), n = 60."""
    assert success_interval([1.0] * 3, 20) == pytest.approx((1.0, 60 / 63.8415, 1.0), abs=1e-4)


def test_differing_seeds_widen_the_interval_beyond_their_episodes():
    """Rates .4, .5, .6 over 1,000 episodes: Student's .5 ± 4.3027 · .1 / √3 holds Wilson's."""
    interval = success_interval([0.4, 0.5, 0.6], 1_000)
    assert interval == pytest.approx((0.5, 0.2516, 0.7484), abs=1e-4)


def test_student_part_stays_a_share():
    """Rates 0 and 1: Student's interval is far wider than [0, 1], a success rate is not."""
    assert success_interval([0.0, 1.0], 50) == Interval(0.5, 0.0, 1.0)


def test_one_seed_falls_back_to_its_episodes():
    """5 of 10 episodes: Wilson's centre is .5, its half width .5 z / √(10 + z²) = .2634."""
    interval = success_interval([0.5], 10)
    assert interval == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)


@pytest.mark.parametrize(("rates", "episodes", "match"), [([], 5, "no value"), ([0.5], 0, "is 0")])
def test_nothing_to_average_is_refused(rates, episodes, match):
    """Without a seed or an episode there is no rate."""
    with pytest.raises(ValueError, match=match):
        success_interval(rates, episodes)


def test_interquartile_mean_is_of_the_middle_half_of_all_runs():
    """Of 1, …, 8 over two tasks, two are cut at either end: (3 + 4 + 5 + 6) / 4.

    Of six, one is cut at either end, since a quarter is 1.5.
    """
    assert interquartile_mean(scores(a=[8, 1, 4, 5], b=[3, 2, 7, 6])) == pytest.approx(4.5)
    assert interquartile_mean(scores(a=[0, 1, 2], b=[4, 9, 100])) == pytest.approx(4.0)


def test_task_mean_counts_tasks_and_not_runs():
    """A task with two seeds at 1 and one with four at 0 have mean ½."""
    assert task_mean(scores(a=[1, 1], b=[0, 0, 0, 0])) == pytest.approx(0.5)


def test_improvement_is_counted_pair_by_pair():
    """Task a: 1 and 3 against 2 win one of two pairs. Task b: 5 against 5, 4 draws and wins: ¾."""
    first, second = scores(a=[1, 3], b=[5]), scores(a=[2], b=[5, 4])
    assert improvement_probability(first, second) == pytest.approx((0.5 + 0.75) / 2)
    assert improvement_probability(second, first) == pytest.approx(1 - (0.5 + 0.75) / 2)
    with pytest.raises(ValueError, match="has b"):
        improvement_probability(first, scores(a=[2]))


def test_profile_counts_runs_above_each_threshold():
    """Task a has 0, .5 of which none, then all lie above 0 and below .5; task b has 1 alone."""
    profile = performance_profile(scores(a=[0, 0.5], b=[1]), np.array([0.0, 0.4, 0.5, 1.0]))
    assert profile == pytest.approx([0.75, 0.75, 0.5, 0.0])


def test_bootstrap_of_two_seeds_is_the_exact_one():
    """The mean of two draws from {0, 1} is 0, ½, 1 with probabilities ¼, ½, ¼: 95 % are [0, 1].

    With ten seeds, one of which is 1, it is a tenth of a binomial(10, .1): its quantiles .025 and
    .975 are 0 and 3.
    """
    assert bootstrap_interval(task_mean, scores(a=[0, 1])) == (0.5, 0.0, 1.0)
    mean, low, high = bootstrap_interval(task_mean, scores(a=[1] + [0] * 9), resamples=20_000)
    assert (mean, low, high) == pytest.approx((0.1, 0.0, 0.3))


def test_bootstrap_draws_within_tasks():
    """Tasks of equal seeds stay as they are, however far apart: the interval has no width."""
    apart = scores(a=[0, 0, 0], b=[1, 1, 1])
    for statistic in (task_mean, interquartile_mean):
        assert bootstrap_interval(statistic, apart) == (0.5, 0.5, 0.5)
    same = bootstrap_interval(improvement_probability, apart, scores(a=[0, 0], b=[0, 0]))
    assert same == (0.75, 0.75, 0.75)


def test_bootstrap_gives_an_interval_for_each_threshold():
    """A profile has one for each; the seed decides the draws, and draws go to both methods."""
    thresholds = np.array([0.25, 0.75])
    found = bootstrap_interval(
        lambda drawn: performance_profile(drawn, thresholds), scores(a=[0, 1], b=[0.5, 0.5])
    )
    assert [end.tolist() for end in found] == [[0.75, 0.25], [0.5, 0.0], [1.0, 0.5]]
    many = scores(a=np.linspace(0, 1, 9))
    first = bootstrap_interval(improvement_probability, many, many, seed=1)
    assert first == bootstrap_interval(improvement_probability, many, many, seed=1)
    assert first[1:] != bootstrap_interval(improvement_probability, many, many, seed=2)[1:]
    assert first[1] < first[0] < first[2]
