"""The deterministic policy."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.networks import NetworkConfig
from floq.policies import DeterministicPolicy, DeterministicPolicyConfig
from floq.types import Statistics

CONFIG = DeterministicPolicyConfig(network=NetworkConfig((8,)))
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)


def policy_with_output(output, **settings):
    """A policy whose network gives `output` in every entry at every state."""
    config = dataclasses.replace(CONFIG, **settings)
    policy = DeterministicPolicy(STATISTICS, config, key=jax.random.key(0))
    zero = jax.tree.map(jnp.zeros_like, policy)
    return eqx.tree_at(lambda p: p.network.head.bias, zero, jnp.full(2, output))


def test_squashing_is_a_tanh_and_its_absence_a_clip_of_actions_only():
    """An output of 2 is tanh 2 with it; without it, 2 in losses and 1 as an action."""
    observations = jnp.ones((1, 3))
    squashed = policy_with_output(2.0)
    np.testing.assert_allclose(squashed.means(observations), np.tanh(2.0), rtol=1e-6)
    np.testing.assert_allclose(squashed.actions(observations), np.tanh(2.0), rtol=1e-6)
    plain = policy_with_output(2.0, squash=False)
    np.testing.assert_array_equal(plain.means(observations), 2.0)
    np.testing.assert_array_equal(plain.actions(observations), 1.0)


def test_noise_is_scaled_then_clipped_and_so_is_the_action():
    """By hand: ε of 1 moves by 0.2, of 9 by no more than 0.5, and nothing leaves [−1, 1]."""
    noise = jnp.array([[1.0, 9.0], [-1.0, -9.0]])
    centred = policy_with_output(0.0).noisy_actions(jnp.ones((2, 3)), noise)
    np.testing.assert_allclose(centred, [[0.2, 0.5], [-0.2, -0.5]], rtol=1e-6)
    at_edge = policy_with_output(9.0).noisy_actions(jnp.ones((2, 3)), noise)
    np.testing.assert_allclose(at_edge, [[1.0, 1.0], [0.8, 0.5]], rtol=1e-6)


def test_the_last_layer_starts_small():
    """Its kernel is a tenth of what it is at a scale of 1, where the variance is a hundredth."""
    kernels = [
        DeterministicPolicy(
            STATISTICS, dataclasses.replace(CONFIG, head_scale=scale), key=jax.random.key(0)
        ).network.head.kernel
        for scale in (1.0, 0.01)
    ]
    np.testing.assert_allclose(kernels[1], kernels[0] / 10, rtol=1e-6)


def test_settings_out_of_range_are_refused():
    """The error names the setting."""
    with pytest.raises(ValueError, match="target_noise_limit"):
        DeterministicPolicyConfig(target_noise_limit=-0.5)
