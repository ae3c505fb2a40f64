"""The Gaussian policy."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from floq.networks import NetworkConfig
from floq.policies import GaussianPolicy, GaussianPolicyConfig
from floq.types import Statistics

CONFIG = GaussianPolicyConfig(network=NetworkConfig((8,)), learned_deviation=True)
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)


@pytest.fixture(scope="module")
def policy():
    return GaussianPolicy(STATISTICS, CONFIG, key=jax.random.key(0))


@pytest.mark.parametrize("learned", [True, False])
def test_the_density_is_that_of_independent_normals(policy, learned):
    """Against scipy, summed over the entries of an action."""
    config = dataclasses.replace(CONFIG, learned_deviation=learned)
    policy = GaussianPolicy(STATISTICS, config, key=jax.random.key(0))
    deviations = np.ones(2)
    if learned:
        deviations = np.array([0.3, 2.0])
        logs = jnp.log(jnp.asarray(deviations, jnp.float32))
        policy = eqx.tree_at(lambda p: p.log_deviations, policy, logs)
    observations = jax.random.normal(jax.random.key(1), (5, 3))
    actions = jax.random.uniform(jax.random.key(2), (5, 2), minval=-1, maxval=1)
    means = policy.network(observations)
    expected = scipy.stats.norm.logpdf(actions, means, deviations).sum(axis=-1)
    np.testing.assert_allclose(policy.log_probabilities(observations, actions), expected, rtol=1e-5)


def test_extreme_deviations_leave_densities_finite(policy):
    """Whatever an optimizer does to them."""
    for extreme in (-1e3, 1e3):
        moved = eqx.tree_at(lambda p: p.log_deviations, policy, jnp.full(2, extreme))
        assert np.isfinite(moved.loss(jnp.ones((1, 3)), jnp.ones((1, 2))))


def test_actions_are_the_means_in_bounds(policy):
    """A mean of 3 is acted out as 1, and a key changes nothing."""
    moved = eqx.tree_at(lambda p: p.network.head.bias, policy, jnp.array([3.0, 0.0]))
    observations = jnp.zeros((4, 3))
    actions = moved(observations, jax.random.split(jax.random.key(3), 4))
    np.testing.assert_array_equal(actions, jnp.clip(moved.network(observations), -1, 1))
    np.testing.assert_array_equal(actions[:, 0], 1)
