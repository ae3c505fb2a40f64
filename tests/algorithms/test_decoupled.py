"""floq whose flow critic reads more actions than its policy plans."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import floq
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies import FlowPolicyConfig
from floq.types import Batch, Statistics

NETWORK = NetworkConfig((32, 32), layer_norm=True)
CONFIG = floq.Config(
    critic=FlowCriticConfig(integration_steps=4, noise_samples=4, network=NETWORK),
    distilled=ScalarCriticConfig(network=NETWORK),
    policy=FlowPolicyConfig(flow_steps=5, network=NetworkConfig((32,))),
    discount=0.8,
    learning_rate=3e-3,
    target_rate=0.02,
    critic_chunk=2,
)
STATISTICS = Statistics(observation_dim=2, action_dim=2, reward_min=-1.0, reward_max=0.0)
EYE = np.eye(2, dtype=np.float32)
init = jax.jit(floq.init, static_argnums=(0, 1))
REWARDS = np.array([[[-0.2, -1.0], [-0.9, -0.5]], [[-0.8, -0.1], [-0.4, -0.7]]])
"""What two steps earn, by state, first and second action: the first's best is not the mean's."""


def batch_of(repeats=8):
    """Both states and all four pairs of actions ±½; the first state leads to the second, an end."""
    states, first, second = (
        np.tile(axis.ravel(), repeats) for axis in np.meshgrid(*3 * [range(2)], indexing="ij")
    )
    rows = (
        EYE[states],
        np.stack([first, second], axis=1) - 0.5,
        REWARDS[states, first, second],
        1 - states,
        EYE[np.ones_like(states)],
    )
    return Batch(*(jnp.asarray(values, jnp.float32) for values in rows))


def known_values(level):
    """D(s, a₁) of both states: expectiles over a₂ of r + γ² · max D of what follows.

    The expectile at τ of two equally frequent numbers is τ times the larger, and the rest of the
    smaller.
    """

    def expectile(pair):
        return level * pair.max(axis=-1) + (1 - level) * pair.min(axis=-1)

    last = expectile(REWARDS[1])
    return np.stack([expectile(REWARDS[0] + CONFIG.discount**2 * last.max()), last])


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_distilled_value_of_a_first_action_is_known(level):
    """Within 6 % of the range; at .5 the mean over how it goes on, towards 1 the best of it.

    The policy takes the best of the behaviour flow's first actions, so that what follows is worth
    the largest distilled value.
    """
    config = dataclasses.replace(
        CONFIG, distillation_expectile=level, target_candidates=8, learning_rate_decay=3000
    )
    batch = batch_of()

    @jax.jit
    def train(state):
        keys = jax.random.split(jax.random.key(1), 3000)
        return jax.lax.scan(
            lambda state, key: (floq.update(config, state, batch, key=key)[0], None), state, keys
        )[0]

    state = train(init(config, STATISTICS, key=jax.random.key(0)))
    states, firsts = jnp.repeat(jnp.eye(2), 2, axis=0), jnp.array([[-0.5], [0.5]] * 2)
    values = state.parameters.distilled.values(states, firsts).reshape(2, 2)
    exact = known_values(level)
    tolerance = 0.06 * np.ptp(exact)
    np.testing.assert_allclose(values, exact, atol=tolerance)
    if level > 0.9:
        optimum = known_values(1.0)
        np.testing.assert_allclose(values, optimum, atol=tolerance + 0.05)
        np.testing.assert_array_equal(values.argmax(axis=1), optimum.argmax(axis=1))


def test_the_policy_plans_the_first_actions_and_the_flow_reads_all():
    """Sizes of every part, of what is done, and whose slow copy targets read."""
    state = init(CONFIG, STATISTICS, key=jax.random.key(0))
    parameters = state.parameters
    batch = batch_of()
    assert parameters.policy.action_dim == 1
    assert jax.tree.structure(state.targets) == jax.tree.structure(parameters.distilled)
    keys = jax.random.split(jax.random.key(1), 2)
    best = dataclasses.replace(CONFIG, candidates=3)
    for act, config in ((floq.act, CONFIG), (floq.act, best), (floq.act_behaviour, CONFIG)):
        actions = jax.jit(act, static_argnums=0)(config, state, EYE, keys=keys)
        assert actions.shape == (2, 1)

    @jax.jit
    def loss(batch):
        draws = floq.sample_draws(parameters, len(batch.rewards), key=jax.random.key(2))
        return floq.loss(CONFIG, parameters, state.targets, batch, draws)[1]

    one, other = loss(batch), loss(batch._replace(actions=batch.actions * np.float32([1, -1])))
    assert one["critic/flow_loss"] != other["critic/flow_loss"]
    assert one["policy/bc_flow_loss"] == other["policy/bc_flow_loss"]


def test_the_target_is_what_the_slow_distilled_critic_says_of_the_policys_action():
    """Of the ends the reward alone; elsewhere r + γ² D̄ at the one-step policy's actions."""
    state = init(CONFIG, STATISTICS, key=jax.random.key(0))
    batch, parameters = batch_of(), state.parameters

    @jax.jit
    def losses():
        slow = jax.tree.map(lambda leaf: leaf + 0.1, state.targets)
        draws = floq.sample_draws(parameters, len(batch.rewards), key=jax.random.key(2))
        _, metrics = floq.critic_loss(CONFIG, parameters, slow, batch, draws)
        states = jnp.repeat(batch.next_observations[:, None], 4, axis=1)
        actions = parameters.policy.actions(states, draws.next_action_noise)
        values = slow.values(batch.next_observations, actions)
        targets = batch.rewards + 0.64 * batch.masks * values
        own = parameters.critic.loss(
            batch.observations, batch.actions, targets[:, None], draws.critic
        )
        return metrics, own

    metrics, own = losses()
    np.testing.assert_allclose(metrics["critic/flow_loss"], own, rtol=1e-5)


@pytest.mark.slow
def test_equal_lengths_are_the_plain_form_bit_for_bit():
    """A critic chunk that is as long as the policy's changes no number of an update."""
    plain = dataclasses.replace(CONFIG, action_chunk=2, critic_chunk=0)
    update = jax.jit(floq.update, static_argnums=0)
    results = []
    for config in (plain, dataclasses.replace(plain, critic_chunk=2)):
        state = init(config, STATISTICS, key=jax.random.key(0))
        results.append(update(config, state, batch_of(), key=jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_expectile_of_one_half_is_the_square():
    """Just above it, the distilled loss is nearly that of the mean."""
    batch, state = batch_of(), init(CONFIG, STATISTICS, key=jax.random.key(0))

    @functools.partial(jax.jit, static_argnums=0)
    def loss(level):
        config = dataclasses.replace(CONFIG, distillation_expectile=level)
        draws = floq.sample_draws(state.parameters, len(batch.rewards), key=jax.random.key(2))
        _, metrics = floq.critic_loss(config, state.parameters, state.targets, batch, draws)
        return metrics["critic/distilled_loss"]

    one, other = loss(0.5), loss(0.500001)
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"action_chunk": 3}, "critic_chunk is 2 and action_chunk is 3"),
        ({"target_judge": "flow"}, "target_judge is set and critic_chunk=2"),
        ({"coarse_updates": 3}, "coarse_updates is set"),
        ({"distillation_expectile": 1.0}, "distillation_expectile is 1"),
        ({"critic_chunk": -1}, "critic_chunk is -1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, words):
    """The error names the setting and the way out."""
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIG, **changes)
