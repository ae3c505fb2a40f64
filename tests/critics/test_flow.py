"""The flow critic: truth on small MDPs, finiteness, and what its settings change."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import call
from hypothesis import given, settings
from hypothesis import strategies as st
from mdp import MDP, evaluate_policy

from floq.critics import FlowCritic, FlowCriticConfig
from floq.networks import NetworkConfig
from floq.types import Batch, Statistics
from tests.draws import draws

SMALL = FlowCriticConfig(
    integration_steps=4, noise_samples=8, network=NetworkConfig((32, 32), layer_norm=True)
)


@functools.cache
def make_critic(config=SMALL, *, discount=0.9, obs=2, act=1, low=-1.0, high=0.0, seed=0):
    statistics = Statistics(obs, act, low, high)
    return FlowCritic(statistics, config, discount=discount, key=jax.random.key(seed))


def test_a_short_horizon_is_learned_in_a_thousand_updates():
    """At γ = 0.5 a single member's values are within 3 % of the exact ones, everywhere."""
    mdp = MDP(seed=3)
    exact = mdp.values(0.5)
    config = dataclasses.replace(SMALL, members=1, network=NetworkConfig((32,), layer_norm=True))
    learned = evaluate_policy(mdp, config, 0.5, steps=1000)
    assert np.abs(learned - exact).max() <= 0.03 * np.ptp(exact)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("discount", [0.5, 0.9, 0.97])
def test_learned_values_are_within_3_percent_of_the_exact_ones(discount):
    """Against linear algebra, with terminal states: at most 3 % of the range of Q, everywhere."""
    mdp = MDP(seed=3)
    exact = mdp.values(discount)
    # Many samples, since the policy's actions are drawn and 1 / (1 - γ) multiplies that noise.
    config = dataclasses.replace(SMALL, noise_samples=32)
    learned = evaluate_policy(mdp, config, discount, steps=4000)
    assert np.abs(learned - exact).max() <= 0.03 * np.ptp(exact)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(
    "change",
    [
        {"integration_steps": 3},
        {"integration_steps": 8, "members": 1},
        {"members": 3},
        {"method": "midpoint"},
        {"method": "rk4"},
        {"value_embedding": "scalar"},
        {"time_embedding": "fourier", "fourier_frequencies": 8},
        {"time_embedding": "identity"},
        {"network": NetworkConfig((32,), residual_blocks=2, layer_norm=True)},
        {"prediction": "endpoint"},
        {"sampling": "strata"},
        {"time_power": 4.0},
        {"backup": "distributional", "integration_steps": 16},
        {"backup": "distributional", "coupling": "shared"},
        {"backup": "distributional", "coupling": "shared", "control_variate": 0.5},
    ],
    ids=str,
)
def test_every_form_of_the_flow_is_within_5_percent_of_the_exact_values(change):
    """K, members, integration rules, embeddings and residual fields all find the same Q.

    Too few steps leave a bias: K = 1 is 26 % off, and a distributional backup with K = 4 is 6 %.
    """
    mdp = MDP(seed=4)
    exact = mdp.values(0.9)
    learned = evaluate_policy(mdp, dataclasses.replace(SMALL, **change), 0.9, steps=4000)
    assert np.abs(learned - exact).max() <= 0.05 * np.ptp(exact)


def test_noise_interval_and_support_follow_the_published_rule():
    """Noise [κ r_min, κ r_max] / (1 − γ); support 0.01 of reward wider than the returns."""
    critic = make_critic(discount=0.99, low=-3.0, high=1.0)
    np.testing.assert_allclose(critic.noise_interval, (-30.0, 10.0), rtol=1e-6)
    np.testing.assert_allclose(critic.members.support, (-301.0, 101.0), rtol=1e-6)
    noise = call(critic.sample_noise, (1000,), key=jax.random.key(0))
    assert -30 <= noise.min() < -29
    assert 9 < noise.max() <= 10


def test_loss_by_hand():
    """Summed over samples, meant over batch and members, for a field that is zero everywhere."""
    critic = make_critic()
    silent = jax.tree.map(jnp.zeros_like, critic)
    draws = call(critic.sample_draws, 6, key=jax.random.key(1))
    targets = jnp.linspace(-5, 0, 6)
    by_hand = np.mean(np.sum((targets[:, None] - draws.initial_noise) ** 2, axis=1))
    loss = call(silent.loss, jnp.ones((6, 2)), jnp.ones((6, 1)), targets[:, None], draws)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def transitions(size=6):
    """Random transitions, every second of them terminal, and two next actions for each."""
    random = np.random.default_rng(5)
    rows = (
        random.normal(size=(size, 2)),
        random.uniform(size=(size, 1)),
        random.uniform(-1, 0, size=size),
        np.tile([1, 0], size // 2),
        random.normal(size=(size, 2)),
    )
    next_actions = random.uniform(size=(size, SMALL.noise_samples, 1))
    batch = Batch(*(jnp.asarray(values, jnp.float32) for values in rows))
    return batch, jnp.asarray(next_actions, jnp.float32)


def test_the_expected_backup_averages_what_the_distributional_one_keeps_apart():
    """One target a state, the mean of r + γ · mask · ψ(1, z₀′) over samples; or all of them."""
    expected = make_critic()
    apart = make_critic(dataclasses.replace(SMALL, backup="distributional"))
    batch, next_actions = transitions()
    draws = call(expected.sample_draws, 6, key=jax.random.key(1))
    _, one = call(expected.td_loss, expected, batch, next_actions, 0.9, draws)
    _, many = call(apart.td_loss, apart, batch, next_actions, 0.9, draws)
    assert one.shape == (6, 1)
    assert many.shape == (6, 8)
    np.testing.assert_allclose(one[:, 0], many.mean(axis=1), rtol=1e-5)
    assert many[0].std() > 0
    np.testing.assert_allclose(many[1], batch.rewards[1])  # Terminal.


def test_shared_noise_starts_both_flows():
    """Coupled, the sample and its target start from the same z₀; otherwise from different ones."""
    shared = make_critic(
        dataclasses.replace(SMALL, backup="distributional", coupling="shared")
    ).sample_draws(6, key=jax.random.key(1))
    np.testing.assert_array_equal(shared.initial_noise, shared.next_initial_noise)
    draws = call(make_critic().sample_draws, 6, key=jax.random.key(1))
    assert (draws.initial_noise != draws.next_initial_noise).all()


def test_the_control_variate_trades_the_sampled_velocity_for_the_fields_own():
    """λ = 1 learns r − (1 − γ) z₀ + γ v̄(t, z′(t)) by hand, where the next state has a value."""
    config = dataclasses.replace(
        SMALL, backup="distributional", coupling="shared", control_variate=1.0, members=1
    )
    critic = make_critic(config)
    batch, next_actions = transitions()
    draws = call(critic.sample_draws, 6, key=jax.random.key(1))
    noise, time, _ = draws
    (ends,) = call(critic.return_samples, batch.next_observations, next_actions, noise)
    points = (1 - time) * noise + time * ends
    (field,) = call(critic.velocities, batch.next_observations, next_actions, points, time)
    shift = 0.9 * call(critic.control_variate, batch, next_actions, ends, draws)
    targets = batch.rewards[:, None] + 0.9 * batch.masks[:, None] * ends
    learned = targets - noise + shift
    by_hand = batch.rewards[:, None] - 0.1 * noise + 0.9 * field
    np.testing.assert_allclose(learned[::2], by_hand[::2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shift[1::2], 0)  # Terminal.
    silent = jax.tree.map(jnp.zeros_like, critic)
    loss, _ = call(silent.td_loss, critic, batch, next_actions, 0.9, draws)
    np.testing.assert_allclose(loss, np.mean(np.sum(learned**2, axis=1)), rtol=1e-4)


def test_an_end_point_is_a_velocity_towards_it():
    """A network that outputs 3 everywhere flows to 3 by any number of steps, and learns from y."""
    critic = make_critic(dataclasses.replace(SMALL, prediction="endpoint"))
    flat = jax.tree.map(jnp.zeros_like, critic)
    flat = eqx.tree_at(
        lambda c: c.members.network.head.bias,
        flat,
        jnp.full_like(critic.members.network.head.bias, 3.0),
    )
    noise = call(critic.sample_noise, (4, 8), key=jax.random.key(0))
    arguments = jnp.ones((4, 2)), jnp.zeros((4, 1)), noise
    for steps in (1, 3, 8):
        ends = call(flat.return_samples, *arguments, integration_steps=steps)
        np.testing.assert_allclose(ends, 3.0, rtol=1e-5)
    draws = call(critic.sample_draws, 4, key=jax.random.key(1))
    loss = call(flat.loss, *arguments[:2], jnp.full((4, 1), 1.0), draws)
    np.testing.assert_allclose(loss, 8 * (3.0 - 1.0) ** 2, rtol=1e-5)


def test_targets_without_an_axis_of_samples_are_refused():
    """They would be broadcast over the wrong axis."""
    critic = make_critic()
    draws = call(critic.sample_draws, 8, key=jax.random.key(1))
    with pytest.raises((ValueError, TypeError), match="targets"):
        call(critic.loss, jnp.ones((8, 2)), jnp.ones((8, 1)), jnp.ones(8), draws)


def test_supervision_at_the_start_draws_time_zero_only():
    """The ablation trains the field at t = 0, the method at every t."""
    start = make_critic(dataclasses.replace(SMALL, supervision="start"))
    np.testing.assert_array_equal(call(start.sample_draws, 9, key=jax.random.key(0)).time, 0)
    times = call(make_critic().sample_draws, 500, key=jax.random.key(0)).time
    assert times.min() < 0.01
    assert times.max() > 0.99


def test_values_are_the_mean_of_the_aggregated_samples():
    """Mean or minimum over members sample by sample, then the mean over samples."""
    for aggregation, reduce in (("mean", np.mean), ("min", np.min)):
        critic = make_critic(dataclasses.replace(SMALL, aggregation=aggregation, members=3))
        noise = call(critic.sample_noise, (4, 8), key=jax.random.key(0))
        arguments = jnp.ones((4, 2)), jnp.zeros((4, 1)), noise
        samples = np.asarray(call(critic.return_samples, *arguments))
        assert samples.shape == (3, 4, 8)
        np.testing.assert_allclose(
            call(critic.values, *arguments), reduce(samples, axis=0).mean(axis=1), rtol=1e-5
        )


def test_one_action_a_sample_equals_one_action_repeated():
    """An action for each sample is read as that sample's own."""
    critic = make_critic()
    noise = call(critic.sample_noise, (4, 8), key=jax.random.key(0))
    observations, actions = jnp.ones((4, 2)), jnp.linspace(-1, 1, 4)[:, None]
    repeated = jnp.repeat(actions[:, None], 8, axis=1)
    np.testing.assert_allclose(
        call(critic.return_samples, observations, actions, noise),
        call(critic.return_samples, observations, repeated, noise),
        rtol=1e-5,
    )


def test_trajectories_end_where_the_samples_are():
    """K + 1 points, from the noise to the return samples."""
    critic = make_critic()
    noise = call(critic.sample_noise, (4, 8), key=jax.random.key(0))
    arguments = jnp.ones((4, 2)), jnp.zeros((4, 1)), noise
    points = call(critic.return_trajectories, *arguments)
    assert points.shape == (2, 5, 4, 8)
    np.testing.assert_array_equal(points[:, 0], jnp.stack([noise, noise]))
    np.testing.assert_allclose(points[:, -1], call(critic.return_samples, *arguments), rtol=1e-5)


def test_another_number_of_steps_can_be_read():
    """K = 1 is a single Euler step of the field at t = 0."""
    critic = make_critic()
    noise = call(critic.sample_noise, (4, 8), key=jax.random.key(0))
    observations, actions = jnp.ones((4, 2)), jnp.zeros((4, 1))
    velocity = call(critic.velocities, observations, actions, noise, jnp.zeros((4, 8)))
    np.testing.assert_allclose(
        call(critic.return_samples, observations, actions, noise, integration_steps=1),
        noise + velocity,
        rtol=1e-5,
    )


@jax.jit
def _losses_and_values(critic, observations, actions, targets, draws):
    gradient = jax.value_and_grad(lambda c: c.loss(observations, actions, targets, draws))
    return gradient(critic), critic.values(observations, actions, draws.initial_noise)


@settings(max_examples=draws(4, 20))
@given(
    observation_scale=st.sampled_from([1e-6, 1.0, 1e6]),
    reward_scale=st.sampled_from([1e-6, 1.0, 1e6]),
    embedding=st.sampled_from(["histogram", "scalar"]),
    seed=st.integers(0, 2**31 - 1),
)
def test_loss_and_gradient_are_finite_at_every_scale(
    observation_scale, reward_scale, embedding, seed
):
    """Observations and rewards from a millionth to a million give no NaN or infinity."""
    critic = make_critic(
        dataclasses.replace(SMALL, value_embedding=embedding), low=-reward_scale, discount=0.99
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    observations = observation_scale * jax.random.normal(keys[0], (6, 2))
    actions = jax.random.uniform(keys[1], (6, 1), minval=-1, maxval=1)
    targets = jnp.linspace(-100 * reward_scale, 0, 6)[:, None]
    draws = call(critic.sample_draws, 6, key=keys[2])
    results = _losses_and_values(critic, observations, actions, targets, draws)
    for array in jax.tree.leaves(results):
        assert np.isfinite(array).all()


velocities = jax.jit(FlowCritic.velocities)


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
@settings(max_examples=50)
def test_velocity_is_finite_for_every_finite_value(value):
    """However far z has run away, the field has an answer."""
    arguments = jnp.ones((1, 2)), jnp.ones((1, 1)), jnp.full((1, 1), value), jnp.full((1, 1), 0.5)
    assert np.isfinite(velocities(make_critic(), *arguments)).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"integration_steps": 0}, "integration_steps"),
        ({"noise_samples": 0}, "noise_samples"),
        ({"members": 0}, "members"),
        ({"noise_coverage": 0.0}, "noise_coverage"),
        ({"histogram_sigma": float("nan")}, "histogram_sigma"),
        ({"histogram_points": 2}, "histogram_points"),
        ({"prediction": "endpoint", "method": "rk4"}, "rk4"),
        ({"time_power": 0.0}, "time_power"),
        ({"coupling": "shared"}, "distributional"),
        ({"control_variate": 0.5}, "independent"),
        ({"control_variate": 2.0}, "from 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(change, named):
    """The error names the setting."""
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"discount": 1.0}, "discount"),
        ({"low": 0.0, "high": 0.0}, "All rewards are"),
        ({"low": 1.0, "high": 0.0}, "lower end first"),
        ({"low": float("nan")}, "lower end first"),
    ],
)
def test_a_range_without_room_for_a_flow_is_refused(arguments, named):
    """The error names the discount or the rewards."""
    with pytest.raises(ValueError, match=named):
        make_critic(**arguments)
