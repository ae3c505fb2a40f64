"""Embeddings are what they are said to be, and finite wherever they are asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from floq.networks import ValueSupport, embed_time, embed_value

LARGEST = float(np.finfo(np.float32).max)


def histogram(value, support=ValueSupport(-101.0, 1.0), points=51, sigma=16.0):
    return np.asarray(
        embed_value(
            jnp.asarray(value, jnp.float32), support, kind="histogram", points=points, sigma=sigma
        )
    )


@pytest.mark.parametrize("value", [-101.0, -60.0, -0.5, 1.0, 20.0])
def test_histogram_is_a_truncated_normal(value):
    """The bin masses are those of N(z, (σ · bin width)²) cut to the support, by scipy."""
    edges = np.linspace(-101.0, 1.0, 51)
    masses = np.diff(scipy.stats.norm.cdf(edges, loc=value, scale=16 * (edges[1] - edges[0])))
    np.testing.assert_allclose(histogram(value), masses / masses.sum(), rtol=2e-4, atol=1e-6)


@given(
    value=st.floats(-LARGEST, LARGEST, width=32),
    scale=st.floats(1e-3, 1e6),
    sigma=st.sampled_from([0.1, 0.75, 2.0, 16.0]),
)
def test_histogram_is_a_distribution_for_every_finite_value(value, scale, sigma):
    """Masses are finite, not negative (to rounding), and sum to 1, for any z and reward scale."""
    masses = histogram(value, ValueSupport(-101.0 * scale, 1.0 * scale), sigma=sigma)
    assert np.isfinite(masses).all()
    # erf rounds to 6e-8, and the mass that is left on the support is 0.0047 at the least.
    assert masses.min() >= -1e-4
    np.testing.assert_allclose(masses.sum(), 1, rtol=1e-3)


def test_histogram_is_finite_on_a_support_below_the_resolution_of_floats():
    """Rewards of a million that differ by a thousandth give no NaN."""
    horizon = 100.0
    support = ValueSupport((1e6 - 0.01) * horizon, (1e6 + 0.011) * horizon)
    assert np.isfinite(histogram([0.0, 1e8, LARGEST, -LARGEST], support)).all()


@given(value=st.floats(-LARGEST, LARGEST, width=32))
def test_scalar_is_finite_for_every_finite_value(value):
    """The scaled value does not overflow, even on a narrow support."""
    embedded = embed_value(
        jnp.float32(value), ValueSupport(-0.01, 0.01), kind="scalar", points=51, sigma=16.0
    )
    assert np.isfinite(embedded).all()


def test_scalar_maps_the_support_to_the_unit_interval():
    """Its ends are 0 and 1, its middle a half."""
    embedded = embed_value(
        jnp.array([-100.0, -50.0, 0.0]),
        ValueSupport(-100.0, 0.0),
        kind="scalar",
        points=51,
        sigma=16.0,
    )
    np.testing.assert_allclose(embedded[:, 0], [0.0, 0.5, 1.0])


def test_time_embeddings_by_hand():
    """cos(t), t itself, and cos(πkt) for k = 1, 2, 3."""
    time = jnp.array([0.0, 0.5])
    np.testing.assert_allclose(
        embed_time(time, kind="cosine", frequencies=3)[:, 0], np.cos([0.0, 0.5]), rtol=1e-6
    )
    np.testing.assert_array_equal(embed_time(time, kind="identity", frequencies=3)[:, 0], time)
    np.testing.assert_allclose(
        embed_time(time, kind="fourier", frequencies=3), [[1, 1, 1], [0, -1, 0]], atol=1e-6
    )


def test_cosines_of_many_turns_are_numpys():
    """All 64 of them and their slopes, in float64 by numpy, at times with few and many bits."""
    times = np.concatenate([np.linspace(0, 1, 65), np.random.default_rng(0).uniform(size=200)])
    times = times.astype(np.float32)
    # What is embedded is the float32 nearest to k t: its own rounding is 64 / 2²⁴ at most.
    turns = (np.arange(1, 65, dtype=np.float32) * times[:, None]).astype(np.float64)

    def embed(time):
        return embed_time(time, kind="fourier", frequencies=64)

    values, slopes = jax.vmap(lambda time: jax.jvp(embed, (time,), (jnp.float32(1),)))(times)
    np.testing.assert_allclose(values, np.cos(np.pi * turns), atol=3e-7)
    exact = -np.pi * np.arange(1, 65) * np.sin(np.pi * turns)
    np.testing.assert_allclose(slopes, exact, atol=2e-6 * 64 * np.pi)
