"""The random numbers of a flow critic: starts and times, each by itself or from strata."""

import dataclasses

import jax
import numpy as np
import pytest

from floq.critics import FlowCritic, FlowCriticConfig
from floq.types import Statistics

SMALL = FlowCriticConfig(noise_samples=8)
STRATA = dataclasses.replace(SMALL, sampling="strata")
ROWS = 4000


def make_critic(config=SMALL):
    """A critic whose noise interval has the length 1."""
    return FlowCritic(Statistics(2, 1, -1.0, 0.0), config, discount=0.9, key=jax.random.key(0))


@pytest.fixture(scope="module")
def strata():
    """Starts and times of many states as shares of their intervals, [states, 8]."""
    critic = make_critic(STRATA)
    low, high = critic.noise_interval
    draws = critic.sample_draws(ROWS, key=jax.random.key(0))
    alone = critic.sample_noise((ROWS, 8), key=jax.random.key(1))
    starts = (np.asarray([draws.initial_noise, draws.next_initial_noise, alone]) - low) / (
        high - low
    )
    return np.concatenate([starts, np.asarray(draws.time)[None]])


def test_every_stratum_holds_one_start_and_one_time(strata):
    """Of a state's 8 starts, of its targets' and of its times, one lies in each eighth."""
    places = np.sort(np.floor(8 * strata), axis=-1)
    np.testing.assert_array_equal(places, np.broadcast_to(np.arange(8), places.shape))
    assert strata.min() >= 0
    assert strata.max() < 1


def test_strata_leave_each_start_uniform_and_the_first_ones_unbiased(strata):
    """At every place of a row the ten tenths are as frequent, and the mean of two is the middle."""
    for numbers in strata:
        for place in range(8):
            counts, _ = np.histogram(numbers[:, place], bins=10, range=(0, 1))
            # χ² of 9 degrees of freedom is above 33.7 once in ten thousand times.
            assert np.sum((counts - ROWS / 10) ** 2 / (ROWS / 10)) < 33.7
        error = np.sqrt(1 / 12 / 2 / ROWS)
        assert abs(numbers[:, :2].mean() - 0.5) < 4 * error


def test_means_over_strata_vary_less(strata):
    """The mean of m shares has the variance 1 / (12 m³), and not the 1 / (12 m) of independence."""
    means = strata.mean(axis=-1)
    np.testing.assert_allclose(means.var(axis=-1) * 12 * 8**3, 1, rtol=0.1)
    independent = make_critic().sample_noise((ROWS, 8), key=jax.random.key(1)).mean(axis=-1)
    assert independent.var() > 50 * means[2].var()  # Of an interval that has the length 1.


def test_starts_times_and_the_targets_starts_are_paired_at_random(strata):
    """Their strata are uncorrelated, and so are those of neighbouring states."""
    starts, following, _, time = strata
    pairs = [(starts, following), (starts, time), (following, time), (starts[1:], starts[:-1])]
    for one, other in pairs:
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(one.size)


def test_independent_starts_are_what_they_were():
    """The published sampling draws the same bits as jax's own uniform numbers."""
    critic, key = make_critic(), jax.random.key(5)
    low, high = critic.noise_interval
    expected = jax.random.uniform(key, (7, 8), minval=low, maxval=high)
    np.testing.assert_array_equal(critic.sample_noise((7, 8), key=key), expected)
    times = jax.random.uniform(jax.random.split(key, 3)[1], (7, 8))
    np.testing.assert_array_equal(critic.sample_draws(7, key=key).time, times)


def test_a_power_of_the_times_makes_more_of_them_early():
    """The same draws, each time to the fourth: half of them before 1/16."""
    published = make_critic(SMALL).sample_draws(4_000, key=jax.random.key(0))
    early = make_critic(dataclasses.replace(SMALL, time_power=4.0))
    draws = early.sample_draws(4_000, key=jax.random.key(0))
    np.testing.assert_array_equal(draws.initial_noise, published.initial_noise)
    np.testing.assert_allclose(draws.time, published.time**4, rtol=1e-6)
    assert np.mean(draws.time < 1 / 16) == pytest.approx(0.5, abs=0.02)
