"""The variance-preserving path and its deterministic sampling, where the noise is known exactly."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.diffusion import denoise, diffuse, signal_and_deviation

MEAN, DEVIATION = 0.4, 0.2
START = jax.random.normal(jax.random.key(0), (20_000,))


def expected_noise(time, point):
    """E[ε | x] where the targets are normal: σ (x − α μ) / (α² s² + σ²)."""
    signal, deviation = signal_and_deviation(time)
    variance = (signal * DEVIATION) ** 2 + deviation**2
    return deviation * (point - signal * MEAN) / variance


def exact_end(start):
    """Where the probability flow carries a start: a normal distribution is scaled and moved."""
    signal, deviation = signal_and_deviation(jnp.zeros(()))
    width = jnp.sqrt((signal * DEVIATION) ** 2 + deviation**2)
    return MEAN + DEVIATION * (start - signal * MEAN) / width


def test_the_path_preserves_variance_from_noise_to_the_target():
    """α² + σ² = 1 everywhere; nearly noise at t = 0, with some signal, and the target at t = 1."""
    signal, deviation = signal_and_deviation(jnp.linspace(0, 1, 11))
    np.testing.assert_allclose(signal**2 + deviation**2, 1, rtol=1e-6)
    assert 0 < signal[0] < 0.1
    assert (np.diff(signal) > 0).all()
    noise, target = START[:5], jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(diffuse(noise, target, jnp.ones(5)), target, atol=1e-6)
    at_start = diffuse(noise, target, jnp.zeros(5))
    np.testing.assert_allclose(at_start, signal[0] * target + deviation[0] * noise, rtol=1e-5)


def test_a_gaussian_is_recovered_by_its_exact_score():
    """Mean and deviation of the targets come out of standard normal starts, to 1 %."""
    ends = denoise(expected_noise, START, steps=200)
    assert abs(ends.mean() - MEAN) < 0.01
    assert abs(ends.std() / DEVIATION - 1) < 0.01


def test_the_error_falls_as_one_over_the_steps():
    """Each doubling of the steps halves the distance to the exact flow."""
    exact = exact_end(START)
    errors = [
        np.sqrt(np.mean(np.square(denoise(expected_noise, START, steps=steps) - exact)))
        for steps in (8, 16, 32, 64)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert 1.6 < coarse / fine < 2.4


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_single_target_is_found_in_any_number_of_steps(steps):
    """Where the noise is told from the point exactly, the end is the target, and finite."""

    def predict(time, point):
        signal, deviation = signal_and_deviation(time)
        return (point - signal * MEAN) / jnp.maximum(deviation, 1e-6)

    ends = denoise(predict, START[:100], steps=steps)
    np.testing.assert_allclose(ends, MEAN, atol=1e-4)


def test_ends_beyond_the_limit_are_clipped_on_the_way():
    """Whatever the prediction says, no end leaves the limit; without one it does."""
    wrong = denoise(lambda time, point: -10.0 * point, START[:100], steps=4, limit=1.0)
    assert np.abs(wrong).max() <= 1 + 1e-6
    assert np.abs(denoise(lambda time, point: -10.0 * point, START[:100], steps=4)).max() > 1
