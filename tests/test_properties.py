"""The algorithm's mathematics, for whatever numbers hypothesis finds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from floq.critics import (
    CategoricalCriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.flow_matching import integrate, interpolate, target_velocity
from floq.losses import cross_entropy, ema_update, expectile_loss, td_target_samples
from floq.networks import NetworkConfig, aggregate
from floq.types import Batch, Statistics

STATISTICS = Statistics(3, 2, -1.0, 0.0)
SIZE, DISCOUNT = 5, 0.9
NETWORK = NetworkConfig((8,), layer_norm=True)
FLOW = FlowCriticConfig(integration_steps=3, noise_samples=4, network=NETWORK)
CONFIGS = {
    "flow": FLOW,
    "flow with a target each": dataclasses.replace(FLOW, backup="distributional"),
    "flow with shared noise": dataclasses.replace(
        FLOW, backup="distributional", coupling="shared", control_variate=0.5
    ),
    "scalar": ScalarCriticConfig(network=NETWORK),
    "quantile": QuantileCriticConfig(quantile_samples=4, network=NETWORK, frequencies=4),
    "categorical": CategoricalCriticConfig(network=NETWORK, histogram_points=11),
}
few = settings(max_examples=8)
many = settings(max_examples=50)
every_critic = pytest.mark.parametrize("name", CONFIGS)


@functools.cache
def critic_of(name):
    """A critic, and a slow copy of it that says something else."""
    config = CONFIGS[name]
    critic = config.create(STATISTICS, discount=DISCOUNT, key=jax.random.key(1))
    return critic, jax.tree.map(lambda leaf: 0.9 * leaf, critic)


def finite(*shape, low=-10.0, high=10.0):
    """Arrays of ordinary numbers."""
    # XLA takes numbers below the smallest normal one for 0.
    elements = st.floats(low, high, width=32, allow_subnormal=False)
    return arrays(np.float32, shape, elements=elements).map(jnp.asarray)


# γ is a number of the program, as in training, not one of its inputs.
@functools.partial(jax.jit, static_argnums=4)
def td_loss(critic, slow, batch, next_actions, discount, draws):
    return critic.td_loss(slow, batch, next_actions, discount, draws)


@jax.jit
def values_of(critic, observations, actions, noise):
    return critic.values(observations, actions, noise)


def make_batch(seed, **changes):
    keys = jax.random.split(jax.random.key(seed), 6)
    batch = Batch(
        jax.random.normal(keys[0], (SIZE, 3)),
        jax.random.uniform(keys[1], (SIZE, 2), minval=-1, maxval=1),
        jax.random.uniform(keys[2], (SIZE,), minval=-1, maxval=0),
        jax.random.bernoulli(keys[3], 0.7, (SIZE,)).astype(jnp.float32),
        jax.random.normal(keys[4], (SIZE, 3)),
    )
    return batch._replace(**changes)


def make_next(critic, seed):
    """Next actions, and the draws of a loss."""
    keys = jax.random.split(jax.random.key(seed))
    shape = (SIZE, critic.noise_samples, 2)
    actions = jax.random.uniform(keys[0], shape, minval=-1, maxval=1)
    return actions, critic.sample_draws(SIZE, key=keys[1])


@every_critic
@few
@given(rewards=finite(SIZE, low=-1.0, high=0.0), seed=st.integers(0, 100))
def test_without_a_future_the_targets_are_the_rewards(name, rewards, seed):
    """γ = 0: whatever the slow critic says of what follows, each sample's target is r."""
    critic, slow = critic_of(name)
    actions, draws = make_next(critic, seed)
    _, targets = td_loss(critic, slow, make_batch(seed, rewards=rewards), actions, 0.0, draws)
    np.testing.assert_array_equal(targets, np.broadcast_to(rewards[:, None], targets.shape))


@every_critic
@few
@given(seed=st.integers(0, 100))
def test_only_the_targets_of_true_ends_forget_what_follows(name, seed):
    """With mask 0 the target is r; with mask 1 it is r + γ times a mean or sample of the slow."""
    critic, slow = critic_of(name)
    batch = make_batch(seed)
    actions, draws = make_next(critic, seed)
    going_on = batch._replace(masks=jnp.ones(SIZE))
    _, targets = td_loss(critic, slow, batch, actions, DISCOUNT, draws)
    _, without_ends = td_loss(critic, slow, going_on, actions, DISCOUNT, draws)
    masks, rewards = np.asarray(batch.masks)[:, None], np.asarray(batch.rewards)[:, None]
    np.testing.assert_allclose(
        targets, masks * without_ends + (1 - masks) * rewards, rtol=1e-4, atol=1e-4
    )
    next_values = (without_ends.mean(axis=1) - batch.rewards) / DISCOUNT
    fields = [name for name in ("next_initial_noise", "next_levels") if hasattr(draws, name)]
    noise = getattr(draws, fields[0]) if fields else jnp.zeros((SIZE, 1))
    expected = values_of(slow, batch.next_observations, actions, noise)
    np.testing.assert_allclose(next_values, expected, rtol=1e-3, atol=1e-3)


@every_critic
@few
@given(order=st.permutations(range(SIZE)), seed=st.integers(0, 100))
def test_the_order_of_a_batch_changes_the_order_of_its_targets_alone(name, order, seed):
    """The loss of a permuted batch is the same, and its targets are the permuted ones."""
    (critic, slow), batch = critic_of(name), make_batch(seed)
    actions, draws = make_next(critic, seed)
    places = jnp.array(order)
    permuted, moved = jax.tree.map(lambda leaf: leaf[places], (batch, (actions, draws)))
    loss, targets = td_loss(critic, slow, batch, actions, DISCOUNT, draws)
    other_loss, other = td_loss(critic, slow, permuted, moved[0], DISCOUNT, moved[1])
    np.testing.assert_allclose(other, targets[places], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-4)


@few
@given(order=st.permutations(range(FLOW.noise_samples)), seed=st.integers(0, 100))
def test_the_order_of_the_samples_does_not_matter_to_a_mean(order, seed):
    """The expected backup has one target for a state, whichever sample comes first."""
    (critic, slow), batch = critic_of("flow"), make_batch(seed)
    actions, draws = make_next(critic, seed)
    places = jnp.array(order)
    moved = draws._replace(next_initial_noise=draws.next_initial_noise[:, places])
    _, targets = td_loss(critic, slow, batch, actions, DISCOUNT, draws)
    _, other = td_loss(critic, slow, batch, actions[:, places], DISCOUNT, moved)
    assert targets.shape == (SIZE, 1)
    np.testing.assert_allclose(other, targets, rtol=1e-4, atol=1e-4)


@few
@given(
    velocity=st.floats(-50, 50, width=32),
    start=finite(2, 3),
    steps=st.integers(1, 12),
    method=st.sampled_from(["euler", "midpoint", "rk4"]),
)
def test_a_constant_field_carries_every_start_by_itself(velocity, start, steps, method):
    """For any number of steps and rule, the end is the start plus the velocity."""
    end = integrate(
        lambda time, point: jnp.full_like(point, velocity),
        start,
        steps=steps,
        method=method,
    )
    np.testing.assert_allclose(end, start + velocity, rtol=1e-4, atol=1e-4)


@few
@given(
    rate=st.floats(-2, 2, width=32),
    slope=st.floats(-2, 2, width=32),
    start=finite(3),
    steps=st.integers(1, 9),
)
def test_scanned_integration_is_eulers_rule_step_by_step(rate, slope, start, steps):
    """Each step adds the velocity at its own beginning, divided by the number of steps."""
    end = integrate(lambda time, point: rate * point + slope * time, start, steps=steps)
    by_hand = np.asarray(start, np.float64)
    for step in range(steps):
        by_hand = by_hand + (rate * by_hand + slope * step / steps) / steps
    np.testing.assert_allclose(end, by_hand, rtol=1e-3, atol=1e-3)


@many
@given(noise=finite(4), target=finite(4), time=st.floats(0, 1, width=32))
def test_the_rest_of_a_path_is_its_velocity_times_the_rest_of_its_time(noise, target, time):
    """z(t) + (1 − t) (y − z₀) = y, and z(t) − t (y − z₀) = z₀."""
    point = interpolate(noise, target, jnp.full(4, time))
    velocity = target_velocity(noise, target)
    np.testing.assert_allclose(point + (1 - time) * velocity, target, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(point - time * velocity, noise, rtol=1e-4, atol=1e-4)


@many
@given(slow=finite(3), fast=finite(3), rate=st.floats(0.01, 1), steps=st.integers(1, 20))
def test_a_moving_average_approaches_what_stands_still(slow, fast, rate, steps):
    """After n updates the distance is (1 − τ)ⁿ of what it was."""
    average = {"x": slow}
    for _ in range(steps):
        average = ema_update(average, {"x": fast}, rate)
    left = (1 - rate) ** steps * (slow - fast)
    np.testing.assert_allclose(average["x"] - fast, left, rtol=1e-3, atol=1e-3)


@many
@given(
    rewards=finite(4), masks=finite(4, low=0.0, high=1.0), samples=finite(4, 3),
    discount=st.floats(0, 0.999),
)  # fmt: skip
def test_each_sample_has_the_target_of_its_own_return(rewards, masks, samples, discount):
    """Sample by sample, y = r + γ · mask · z."""
    targets = td_target_samples(rewards, masks, samples, discount)
    by_hand = rewards[:, None] + discount * masks[:, None] * samples
    np.testing.assert_allclose(targets, by_hand, rtol=1e-5, atol=1e-5)


@many
@given(error=finite(6), level=st.floats(0, 1, width=32))
def test_an_expectile_weighs_errors_by_their_side(error, level):
    """u² times τ above and 1 − τ below: of both levels together, the square."""
    loss = np.asarray(expectile_loss(error, level))
    weight = np.where(error < 0, 1 - level, level)
    np.testing.assert_allclose(loss, weight * error**2, rtol=1e-4, atol=1e-4)
    both = loss + np.asarray(expectile_loss(error, 1 - level))
    np.testing.assert_allclose(both, error**2, rtol=1e-4, atol=1e-4)


@many
@given(logits=finite(2, 5), other=finite(2, 5))
def test_cross_entropy_is_least_where_the_distributions_agree(logits, other):
    """No distribution fits another better than itself, and adding a constant changes nothing."""
    probabilities = jax.nn.softmax(logits)
    own = np.asarray(cross_entropy(logits, probabilities))
    assert (own <= np.asarray(cross_entropy(other, probabilities)) + 1e-4).all()
    np.testing.assert_allclose(cross_entropy(logits + 3, probabilities), own, rtol=1e-3, atol=1e-4)


@many
@given(values=finite(3, 4))
def test_the_minimum_of_an_ensemble_is_below_its_mean(values):
    """Entry by entry, the minimum over members is at most their mean."""
    low, mean = (np.asarray(aggregate(values, how)) for how in ("min", "mean"))
    np.testing.assert_array_equal(low, np.asarray(values).min(axis=0))
    np.testing.assert_allclose(mean, np.asarray(values).mean(axis=0), rtol=1e-4, atol=1e-4)
    assert (low <= mean + 1e-5).all()


@many
@given(values=finite(3, 4), pessimism=st.floats(0, 3, width=32))
def test_pessimism_falls_from_the_mean_by_deviations(values, pessimism):
    """Mean − ρ · population deviation; 0 gives the mean to the bit."""
    by_hand = np.asarray(values, np.float64)
    by_hand = by_hand.mean(axis=0) - pessimism * by_hand.std(axis=0)
    np.testing.assert_allclose(aggregate(values, "mean", pessimism), by_hand, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(aggregate(values, "mean", 0.0), jnp.mean(values, axis=0))
