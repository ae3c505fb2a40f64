"""Temporal-difference pieces against numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from floq.losses import advantage_weights, ema_update, expectile_loss, quantile_loss, td_target


def test_td_target_by_hand():
    """Reward plus γ V where the episode goes on, r alone where it ended."""
    targets = td_target(jnp.array([1.0, -2.0]), jnp.array([1.0, 0.0]), jnp.array([10.0, 10.0]), 0.9)
    np.testing.assert_allclose(targets, [10.0, -2.0], rtol=1e-6)


def test_td_target_is_cut_off_from_the_gradient():
    """Nothing is learned by moving the target."""
    gradient = jax.grad(lambda values: jnp.sum(td_target(jnp.ones(2), jnp.ones(2), values, 0.9)))(
        jnp.ones(2)
    )
    np.testing.assert_array_equal(gradient, 0)


def test_moving_average_by_hand():
    """τ = 0.25 takes a quarter of the online parameters, τ = 1 all of them."""
    slow, fast = {"a": jnp.array([0.0, 4.0])}, {"a": jnp.array([8.0, 8.0])}
    np.testing.assert_allclose(ema_update(slow, fast, 0.25)["a"], [2.0, 5.0])
    np.testing.assert_allclose(ema_update(slow, fast, 1.0)["a"], fast["a"])


def test_advantage_weights_by_hand():
    """exp(β A) up to the limit, also where exp is infinite, and without a gradient."""
    advantages = jnp.array([0.0, jnp.log(2.0), 1e3, -1e3])
    weights = advantage_weights(advantages, inverse_temperature=2.0, limit=100.0)
    np.testing.assert_allclose(weights, [1, 4, 100, 0], rtol=1e-6)
    gradient = jax.grad(
        lambda a: jnp.sum(advantage_weights(a, inverse_temperature=2.0, limit=100.0))
    )(advantages)
    np.testing.assert_array_equal(gradient, 0)


def test_the_expectile_of_two_equally_likely_values_is_its_level():
    """Of 0 and 1 the estimate that the loss is flat at is τ itself."""
    targets = jnp.array([0.0, 1.0])
    for level in (0.5, 0.9):
        slope = jax.grad(lambda v, level=level: jnp.mean(expectile_loss(targets - v, level)))(level)
        np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_the_quantile_of_three_equally_likely_values_is_one_of_them():
    """Between the levels 1/3 and 2/3 the loss falls towards the middle one from both sides."""
    targets = jnp.array([0.0, 1.0, 5.0])
    for level, found in ((0.5, 1.0), (0.9, 5.0), (0.1, 0.0)):
        slope = jax.grad(lambda v, level=level: jnp.mean(quantile_loss(targets - v, level)))
        assert slope(found - 0.1) < 0 < slope(found + 0.1)
    np.testing.assert_allclose(quantile_loss(jnp.array([2.0, -2.0]), 0.9), [1.8, 0.2], rtol=1e-6)
