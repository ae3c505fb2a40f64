import math

import pytest

from floq.experiments.statistics import Interval, mean_interval, success_interval


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
