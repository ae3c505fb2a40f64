"""The flow critic: truth on small MDPs, finiteness, and what its settings change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floq.critics import FlowCritic, FlowCriticConfig
from floq.losses import ema_update, td_target
from floq.networks import NetworkConfig
from floq.types import Statistics

SMALL = FlowCriticConfig(
    integration_steps=4, noise_samples=8, network=NetworkConfig((32, 32), layer_norm=True)
)
STATES, ACTIONS = 5, 3


def make_critic(config=SMALL, *, discount=0.9, obs=2, act=1, low=-1.0, high=0.0, seed=0):
    statistics = Statistics(obs, act, low, high)
    return FlowCritic(statistics, config, discount=discount, key=jax.random.key(seed))


class MDP:
    """Five states and three actions at random; entering state 0 ends the episode."""

    def __init__(self, seed: int):
        random = np.random.default_rng(seed)
        self.rewards = random.uniform(-1, 0, (STATES, ACTIONS))
        self.following = random.integers(0, STATES, (STATES, ACTIONS))
        self.masks = (self.following != 0).astype(np.float64)
        self.policy = random.dirichlet(np.ones(ACTIONS), STATES)

    def values(self, discount: float) -> np.ndarray:
        """Q of the policy, by linear algebra: Q = r + γ M P Q."""
        size = STATES * ACTIONS
        transition = np.zeros((size, size))
        for state in range(STATES):
            for action in range(ACTIONS):
                following = self.following[state, action]
                columns = following * ACTIONS + np.arange(ACTIONS)
                row = state * ACTIONS + action
                transition[row, columns] = self.masks[state, action] * self.policy[following]
        return np.linalg.solve(np.eye(size) - discount * transition, self.rewards.ravel())


def evaluate_policy(mdp: MDP, config: FlowCriticConfig, discount: float, steps: int) -> np.ndarray:
    """Q of the MDP's policy as a flow critic learns it from samples."""
    pairs = np.stack(np.meshgrid(range(STATES), range(ACTIONS), indexing="ij"), -1).reshape(-1, 2)
    observations = jnp.eye(STATES)[pairs[:, 0]]
    actions = jnp.eye(ACTIONS)[pairs[:, 1]]
    following = jnp.asarray(mdp.following.ravel())
    rewards = jnp.asarray(mdp.rewards.ravel(), jnp.float32)
    masks = jnp.asarray(mdp.masks.ravel(), jnp.float32)
    logits = jnp.log(jnp.asarray(mdp.policy, jnp.float32))
    size = STATES * ACTIONS
    critic = make_critic(
        config, discount=discount, obs=STATES, act=ACTIONS,
        low=mdp.rewards.min(), high=mdp.rewards.max(),
    )  # fmt: skip
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def update(carry, key):
        critic, target, moments = carry
        action_key, noise_key, draw_key = jax.random.split(key, 3)
        shape = (size, config.noise_samples)
        chosen = jax.random.categorical(action_key, logits[following][:, None], shape=shape)
        next_values = target.values(
            jnp.eye(STATES)[following],
            jnp.eye(ACTIONS)[chosen],
            critic.sample_noise(shape, key=noise_key),
        )
        targets = td_target(rewards, masks, next_values, discount)[:, None]
        draws = critic.sample_draws(size, key=draw_key)
        gradient = jax.grad(lambda c: c.loss(observations, actions, targets, draws))(critic)
        updates, moments = optimizer.update(gradient, moments)
        target = ema_update(target, critic, 0.02)
        return (optax.apply_updates(critic, updates), target, moments), None

    @jax.jit
    def train(critic):
        carry = (critic, critic, optimizer.init(critic))
        (critic, _, _), _ = jax.lax.scan(update, carry, jax.random.split(jax.random.key(1), steps))
        noise = critic.sample_noise((size, 256), key=jax.random.key(2))
        return critic.values(observations, actions, noise)

    return np.asarray(train(critic))


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
@pytest.mark.parametrize(
    "change",
    [
        {"integration_steps": 1},
        {"integration_steps": 8, "members": 1},
        {"members": 3},
        {"method": "midpoint"},
        {"method": "rk4"},
        {"value_embedding": "scalar"},
        {"time_embedding": "fourier", "fourier_frequencies": 8},
        {"time_embedding": "identity"},
        {"network": NetworkConfig((32,), residual_blocks=2, layer_norm=True)},
    ],
    ids=str,
)
def test_every_form_of_the_flow_is_within_5_percent_of_the_exact_values(change):
    """K, members, integration rules, embeddings and residual fields all find the same Q."""
    mdp = MDP(seed=4)
    exact = mdp.values(0.9)
    learned = evaluate_policy(mdp, dataclasses.replace(SMALL, **change), 0.9, steps=4000)
    assert np.abs(learned - exact).max() <= 0.05 * np.ptp(exact)


def test_noise_interval_and_support_follow_the_published_rule():
    """Noise [κ r_min, κ r_max] / (1 − γ); support 0.01 of reward wider than the returns."""
    critic = make_critic(discount=0.99, low=-3.0, high=1.0)
    np.testing.assert_allclose(critic.noise_interval, (-30.0, 10.0), rtol=1e-6)
    np.testing.assert_allclose(critic.members.support, (-301.0, 101.0), rtol=1e-6)
    noise = critic.sample_noise((1000,), key=jax.random.key(0))
    assert -30 <= noise.min() < -29
    assert 9 < noise.max() <= 10


def test_loss_by_hand():
    """Summed over samples, meant over batch and members, for a field that is zero everywhere."""
    critic = make_critic()
    silent = jax.tree.map(jnp.zeros_like, critic)
    draws = critic.sample_draws(6, key=jax.random.key(1))
    targets = jnp.linspace(-5, 0, 6)
    by_hand = np.mean(np.sum((targets[:, None] - draws.initial_noise) ** 2, axis=1))
    loss = silent.loss(jnp.ones((6, 2)), jnp.ones((6, 1)), targets[:, None], draws)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def test_supervision_at_the_start_draws_time_zero_only():
    """The ablation trains the field at t = 0, the method at every t."""
    start = make_critic(dataclasses.replace(SMALL, supervision="start"))
    np.testing.assert_array_equal(start.sample_draws(9, key=jax.random.key(0)).time, 0)
    times = make_critic().sample_draws(500, key=jax.random.key(0)).time
    assert times.min() < 0.01
    assert times.max() > 0.99


def test_values_are_the_mean_of_the_aggregated_samples():
    """Mean or minimum over members sample by sample, then the mean over samples."""
    for aggregation, reduce in (("mean", np.mean), ("min", np.min)):
        critic = make_critic(dataclasses.replace(SMALL, aggregation=aggregation, members=3))
        noise = critic.sample_noise((4, 8), key=jax.random.key(0))
        arguments = jnp.ones((4, 2)), jnp.zeros((4, 1)), noise
        samples = np.asarray(critic.return_samples(*arguments))
        assert samples.shape == (3, 4, 8)
        np.testing.assert_allclose(
            critic.values(*arguments), reduce(samples, axis=0).mean(axis=1), rtol=1e-5
        )


def test_one_action_a_sample_equals_one_action_repeated():
    """An action for each sample is read as that sample's own."""
    critic = make_critic()
    noise = critic.sample_noise((4, 8), key=jax.random.key(0))
    observations, actions = jnp.ones((4, 2)), jnp.linspace(-1, 1, 4)[:, None]
    repeated = jnp.repeat(actions[:, None], 8, axis=1)
    np.testing.assert_allclose(
        critic.return_samples(observations, actions, noise),
        critic.return_samples(observations, repeated, noise),
        rtol=1e-5,
    )


def test_trajectories_end_where_the_samples_are():
    """K + 1 points, from the noise to the return samples."""
    critic = make_critic()
    noise = critic.sample_noise((4, 8), key=jax.random.key(0))
    arguments = jnp.ones((4, 2)), jnp.zeros((4, 1)), noise
    points = critic.return_trajectories(*arguments)
    assert points.shape == (2, 5, 4, 8)
    np.testing.assert_array_equal(points[:, 0], jnp.stack([noise, noise]))
    np.testing.assert_allclose(points[:, -1], critic.return_samples(*arguments), rtol=1e-5)


def test_another_number_of_steps_can_be_read():
    """K = 1 is a single Euler step of the field at t = 0."""
    critic = make_critic()
    noise = critic.sample_noise((4, 8), key=jax.random.key(0))
    observations, actions = jnp.ones((4, 2)), jnp.zeros((4, 1))
    velocity = critic.velocities(observations, actions, noise, jnp.zeros((4, 8)))
    np.testing.assert_allclose(
        critic.return_samples(observations, actions, noise, integration_steps=1),
        noise + velocity,
        rtol=1e-5,
    )


@settings(max_examples=20, deadline=None)
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
    draws = critic.sample_draws(6, key=keys[2])
    loss, gradient = jax.value_and_grad(lambda c: c.loss(observations, actions, targets, draws))(
        critic
    )
    values = critic.values(observations, actions, draws.initial_noise)
    for array in (loss, values, *jax.tree.leaves(gradient)):
        assert np.isfinite(array).all()


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
@settings(max_examples=50, deadline=None)
def test_velocity_is_finite_for_every_finite_value(value):
    """However far z has run away, the field has an answer."""
    critic = make_critic()
    velocity = critic.velocities(
        jnp.ones((1, 2)), jnp.ones((1, 1)), jnp.full((1, 1), value), jnp.full((1, 1), 0.5)
    )
    assert np.isfinite(velocity).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"integration_steps": 0}, "integration_steps"),
        ({"noise_samples": 0}, "noise_samples"),
        ({"members": 0}, "members"),
        ({"noise_coverage": 0.0}, "noise_coverage"),
        ({"histogram_sigma": float("nan")}, "histogram_sigma"),
        ({"histogram_points": 2}, "histogram_points"),
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
