"""What every critic must do, whatever it is made of."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import call
from mdp import MDP, evaluate_policy

from floq.critics import (
    CategoricalCriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.networks import NetworkConfig, ValueSupport, embed_value
from floq.types import Batch, Critic, Statistics

NETWORK = NetworkConfig((16, 16), layer_norm=True)
CONFIGS = {
    "scalar": ScalarCriticConfig(network=NETWORK),
    "quantile": QuantileCriticConfig(quantile_samples=4, network=NETWORK, frequencies=8),
    "categorical": CategoricalCriticConfig(network=NETWORK, histogram_points=21),
    "flow": FlowCriticConfig(integration_steps=2, noise_samples=4, network=NETWORK),
}
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)
every_critic = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@functools.cache
def make(config):
    """The critic before its first update, made by one program."""
    create = eqx.filter_jit(lambda: config.create(STATISTICS, discount=0.9, key=jax.random.key(0)))
    return create()


@eqx.filter_jit
def samples_and_values(critic, observations, actions, noise):
    return (
        critic.return_samples(observations, actions, noise),
        critic.values(observations, actions, noise),
    )


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(1)
    rows = (
        random.normal(size=(6, 3)),
        random.uniform(size=(6, 2)),
        random.uniform(-1, 0, size=6),
        np.tile([1, 0], 3),
        random.normal(size=(6, 3)),
    )
    return Batch(*(jnp.asarray(values, jnp.float32) for values in rows))


@every_critic
def test_values_average_samples_over_members_or_take_their_minimum(config, batch):
    """return_samples has a row a member; values reduce members first, then samples."""
    critic = make(config)
    assert isinstance(critic, Critic)
    noise = call(critic.sample_noise, (6, 4), key=jax.random.key(2))
    samples, values = samples_and_values(critic, batch.observations, batch.actions, noise)
    assert samples.shape == (2, 6, 4)
    np.testing.assert_allclose(values, samples.mean(axis=(0, 2)), rtol=1e-4)


@every_critic
def test_pessimism_takes_deviations_off_the_mean(config, batch):
    """A value is the mean over samples of mean − ρ · deviation over members; targets read it."""
    critic = make(dataclasses.replace(config, members=5, pessimism=0.5))
    noise = call(critic.sample_noise, (6, 4), key=jax.random.key(2))
    samples, values = samples_and_values(critic, batch.observations, batch.actions, noise)
    expected = np.mean(np.mean(samples, axis=0) - 0.5 * np.std(samples, axis=0), axis=-1)
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    draws = call(critic.sample_draws, 6, key=jax.random.key(3))
    actions = jnp.zeros((6, critic.noise_samples, 2))
    mean = make(dataclasses.replace(config, members=5))

    @eqx.filter_jit
    def targets_by(slow):
        return critic.td_loss(slow, batch, actions, 0.9, draws)[1]

    targets, of_mean = targets_by(critic), targets_by(mean)
    ongoing = batch.masks == 1
    assert (targets <= of_mean).all()
    assert (targets[ongoing] < of_mean[ongoing]).all()


@every_critic
@pytest.mark.parametrize("members", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_pessimism_has_a_slope_where_members_agree(config, members, batch):
    """Of one member, and of equal ones, values are the mean's and gradients are finite."""
    critic = make(dataclasses.replace(config, members=members, pessimism=0.5))
    first = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), critic.members)
    critic = eqx.tree_at(lambda c: c.members, critic, first)
    noise = call(critic.sample_noise, (6, 4), key=jax.random.key(2))

    @jax.jit
    def found(actions):
        def value(actions):
            return jnp.sum(critic.values(batch.observations, actions, noise))

        samples = critic.return_samples(batch.observations, actions, noise)
        return *jax.value_and_grad(value)(actions), samples[0].mean(axis=-1).sum()

    value, slope, of_first = found(batch.actions)
    np.testing.assert_allclose(value, of_first, rtol=1e-5)
    assert np.isfinite(slope).all()


@every_critic
def test_pessimism_is_refused_where_it_would_count_twice(config):
    """The minimum is pessimistic already, and a pessimism below 0 is none."""
    with pytest.raises(ValueError, match=r"pessimism is 0\.5 and aggregation"):
        dataclasses.replace(config, pessimism=0.5, aggregation="min")
    with pytest.raises(ValueError, match="pessimism is -1"):
        dataclasses.replace(config, pessimism=-1.0)


@every_critic
def test_the_last_layer_reads_the_features(config, batch):
    """The features through the last layer are the samples, or for a flow its first velocities."""
    critic = make(config)
    noise = call(critic.sample_noise, (6, 4), key=jax.random.key(2))
    arguments = (batch.observations, batch.actions, noise)
    features = call(critic.features, *arguments)
    networks = critic.members.network if hasattr(critic.members, "network") else critic.members
    outputs = jnp.einsum("e...f,efo->e...o", features, networks.head.kernel)
    outputs += networks.head.bias[:, None, None]
    expected = call(critic.return_samples, *arguments)
    if isinstance(config, FlowCriticConfig):
        outputs = outputs[..., 0]
        expected = call(critic.velocities, *arguments, jnp.zeros_like(noise))
    elif isinstance(config, CategoricalCriticConfig):
        edges = jnp.linspace(*critic.support, config.histogram_points)
        outputs = jax.nn.softmax(outputs) @ ((edges[1:] + edges[:-1]) / 2)
    else:
        outputs = outputs[..., 0]
    np.testing.assert_allclose(
        jnp.broadcast_to(outputs, expected.shape), expected, rtol=1e-4, atol=1e-5
    )


@every_critic
def test_one_action_a_sample_equals_one_action_repeated(config, batch):
    """An action for each sample is read as that sample's own."""
    critic = make(config)
    noise = call(critic.sample_noise, (6, 4), key=jax.random.key(2))
    repeated = jnp.repeat(batch.actions[:, None], 4, axis=1)
    np.testing.assert_allclose(
        call(critic.return_samples, batch.observations, batch.actions, noise),
        call(critic.return_samples, batch.observations, repeated, noise),
        rtol=1e-4,
        atol=1e-5,
    )


@every_critic
def test_td_targets_ignore_the_next_state_of_a_terminal_step(config, batch):
    """Y = r where the mask is 0, and the loss is that against the targets it returns."""
    critic = make(config)
    draws = call(critic.sample_draws, 6, key=jax.random.key(3))
    next_actions = jax.random.uniform(jax.random.key(4), (6, critic.noise_samples, 2))
    loss, targets = call(critic.td_loss, critic, batch, next_actions, 0.9, draws)
    assert targets.shape[0] == 6
    ends = np.flatnonzero(batch.masks == 0)
    rewards = np.broadcast_to(batch.rewards[:, None], targets.shape)
    np.testing.assert_allclose(targets[ends], rewards[ends], rtol=1e-6)
    assert (np.abs(targets - rewards)[::2] > 1e-4).any()
    same = call(critic.loss, batch.observations, batch.actions, targets, draws)
    np.testing.assert_allclose(loss, same, rtol=1e-5)


@every_critic
def test_targets_get_no_gradient(config, batch):
    """The slow copy is read, not learned."""
    critic = make(config)
    draws = call(critic.sample_draws, 6, key=jax.random.key(3))
    next_actions = jnp.zeros((6, critic.noise_samples, 2))
    loss = lambda target: critic.td_loss(target, batch, next_actions, 0.9, draws)[0]
    gradient = jax.jit(jax.grad(loss))(critic)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(
    "name",
    ["scalar", *(pytest.param(one, marks=pytest.mark.slow) for one in ("quantile", "categorical"))],
)
def test_the_monolithic_critics_are_within_5_percent_of_the_exact_values(name):
    """Policy evaluation on a small MDP against linear algebra, everywhere, at γ = 0.9.

    For the quantile critic with returns that are certain: its expectiles of others are biased.
    """
    mdp = MDP(seed=3, one_action=name == "quantile")
    exact = mdp.values(0.9)
    learned = evaluate_policy(mdp, CONFIGS[name], 0.9, steps=4000)
    assert np.abs(learned - exact).max() <= 0.05 * np.ptp(exact)


def test_the_quantile_loss_by_hand(batch):
    """Σ over levels of the mean over targets of |τ − 1(y < q)| (y − q)², for q = 0 everywhere."""
    critic = jax.tree.map(jnp.zeros_like, make(CONFIGS["quantile"]))
    draws = call(critic.sample_draws, 6, key=jax.random.key(3))
    targets = jnp.tile(jnp.array([[1.0, -2.0]]), (6, 1))
    by_hand = np.mean(np.sum((draws.levels * 1 + (1 - draws.levels) * 4) / 2, axis=1))
    loss = call(critic.loss, batch.observations, batch.actions, targets, draws)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def test_the_categorical_loss_is_least_at_the_targets_own_histogram():
    """Its cross-entropy to a target's histogram is that histogram's entropy."""
    critic = make(CONFIGS["categorical"])
    target = jnp.array([[-4.0]])
    aim = embed_value(
        target, ValueSupport(*critic.support), kind="histogram", points=21, sigma=0.75
    )[0, 0]
    silent = jax.tree.map(jnp.zeros_like, critic)
    logits = jnp.log(jnp.maximum(aim, 1e-30))
    fitted = eqx.tree_at(lambda c: c.members.head.bias, silent, jnp.stack([logits, logits]))
    one = jnp.ones((1, 3)), jnp.ones((1, 2)), target
    entropy = -np.sum(aim * np.log(np.maximum(aim, 1e-30)))
    np.testing.assert_allclose(call(fitted.loss, *one), entropy, rtol=1e-4)
    np.testing.assert_allclose(call(silent.loss, *one), np.log(20), rtol=1e-5)
    value = call(fitted.values, *one[:2], jnp.zeros((1, 1)))
    np.testing.assert_allclose(value, -4.0, atol=0.05)


@pytest.mark.parametrize("target", [-10.0, 0.0])
def test_a_categorical_value_reaches_the_ends_of_the_returns(target):
    """The histogram of the least and of the greatest return has its mean there, not inside."""
    critic = make(CONFIGS["categorical"])
    aim = embed_value(
        jnp.array(target), ValueSupport(*critic.support), kind="histogram", points=21, sigma=0.75
    )
    silent = jax.tree.map(jnp.zeros_like, critic)
    logits = jnp.log(jnp.maximum(aim, 1e-30))
    fitted = eqx.tree_at(lambda c: c.members.head.bias, silent, jnp.stack([logits, logits]))
    value = call(fitted.values, jnp.ones((1, 3)), jnp.ones((1, 2)), jnp.zeros((1, 1)))
    np.testing.assert_allclose(value, target, atol=0.05)
