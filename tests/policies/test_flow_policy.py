"""The behaviour policy by a flow and by a diffusion: the same interface, the data's own actions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import bc, floq, fql, ifql
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.diffusion import diffuse
from floq.networks import NetworkConfig
from floq.policies import BehaviourFlow, FlowPolicy, FlowPolicyConfig
from floq.types import Batch, Statistics

STATISTICS = Statistics(observation_dim=2, action_dim=2, reward_min=-1.0, reward_max=0.0)
STRAIGHT = FlowPolicyConfig(flow_steps=10, network=NetworkConfig((32, 32)))
DIFFUSION = dataclasses.replace(STRAIGHT, path="variance_preserving")
every_path = pytest.mark.parametrize("config", [STRAIGHT, DIFFUSION], ids=lambda c: c.path)


def two_modes(rows=64):
    """One state, with actions about (½, ½) three times as often as about (−½, ½)."""
    signs = jnp.where(jnp.arange(rows) % 4 == 0, -1.0, 1.0)
    around = 0.05 * jax.random.normal(jax.random.key(9), (rows, 2))
    actions = jnp.stack([signs / 2, jnp.full(rows, 0.5)], axis=-1) + around
    states, zeros = jnp.ones((rows, 2)), jnp.zeros(rows)
    return Batch(states, actions, zeros, zeros, states)


@functools.cache
def cloned(config):
    """A clone of the two modes after a short training, sampled at 400 noises."""
    settings = bc.Config(policy=config, learning_rate=1e-2, learning_rate_decay=1500)
    batch = two_modes()

    @jax.jit
    def train(state):
        keys = jax.random.split(jax.random.key(1), 1500)
        return jax.lax.scan(
            lambda state, key: (bc.update(settings, state, batch, key=key)[0], None), state, keys
        )[0]

    state = train(bc.init(settings, STATISTICS, key=jax.random.key(0)))
    keys = jax.random.split(jax.random.key(2), 400)
    return bc.act(settings, state, jnp.ones((400, 2)), keys=keys)


@pytest.mark.usefixtures("optimised")
@every_path
def test_two_modes_are_recovered_with_their_shares(config):
    """Samples lie about the data's two actions and not between, three to one."""
    actions = np.asarray(cloned(config))
    assert np.mean(np.abs(np.abs(actions[:, 0]) - 0.5)) < 0.1
    np.testing.assert_allclose(actions[:, 1].mean(), 0.5, atol=0.06)
    assert abs(np.mean(actions[:, 0] > 0) - 0.75) < 0.1


@every_path
def test_actions_are_bounded_and_those_of_their_keys_noise(config):
    """Far-out weights lead to actions in [−1, 1]; keys stand for the noise that they draw."""
    policy = BehaviourFlow(STATISTICS, config, key=jax.random.key(0))
    states = jax.random.normal(jax.random.key(1), (6, 2))
    keys = jax.random.split(jax.random.key(2), 6)
    wild = jax.tree.map(lambda leaf: 20 * leaf, policy)
    assert np.abs(wild(states, keys)).max() <= 1
    np.testing.assert_array_equal(
        policy(states, keys), policy.actions(states, policy.action_noise(keys))
    )


def test_both_paths_draw_the_same_numbers_and_have_the_same_networks():
    """Only what is made of them differs: a comparison changes nothing else."""
    key = jax.random.key(0)
    flow, diffusion = (FlowPolicy(STATISTICS, one, key=key) for one in (STRAIGHT, DIFFUSION))
    for one, other in (
        (flow.sample_draws(8, key=key), diffusion.sample_draws(8, key=key)),
        (jax.tree.leaves(flow), jax.tree.leaves(diffusion)),
    ):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_diffusion_learns_the_noise_in_its_points():
    """Its loss is the mean squared error of ε̂ at x(t) = α a + σ ε."""
    policy = BehaviourFlow(STATISTICS, DIFFUSION, key=jax.random.key(0))
    batch = two_modes(8)
    draws = policy.sample_draws(8, key=jax.random.key(1))
    time = draws.time[:, None]
    points = diffuse(draws.noise, batch.actions, time)
    predicted = policy.network(jnp.concatenate([batch.observations, points, time], axis=-1))
    np.testing.assert_allclose(
        policy.loss(batch.observations, batch.actions, draws),
        np.mean(np.square(predicted - draws.noise)),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "module", [*(pytest.param(one, marks=pytest.mark.slow) for one in (floq, fql)), ifql]
)
def test_a_diffusion_takes_the_flows_place_in_every_algorithm(module):
    """An update is finite and moves the behaviour policy, and actions are within bounds."""
    network = NetworkConfig((8,), layer_norm=True)
    critic = ScalarCriticConfig(network=network)
    if module is floq:
        critic = FlowCriticConfig(integration_steps=2, noise_samples=2, network=network)
    config = module.Config(
        critic=critic, policy=dataclasses.replace(DIFFUSION, flow_steps=3), candidates=2
    )
    state = module.init(config, STATISTICS, key=jax.random.key(0))
    update = jax.jit(module.update, static_argnums=0)
    after, metrics = update(config, state, two_modes(8), key=jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values())
    before, moved = (
        jax.tree.leaves(getattr(one.parameters, "behaviour", None) or one.parameters.policy)
        for one in (state, after)
    )
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, moved, strict=True))
    keys = jax.random.split(jax.random.key(2), 3)
    for act in (module.act, module.act_behaviour):
        assert np.abs(act(config, after, jnp.ones((3, 2)), keys=keys)).max() <= 1
