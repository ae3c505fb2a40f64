"""Values without a policy: the best of what the data did, for whatever critic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import ifql, iql
from floq.algorithms.common import candidate_noise
from floq.critics import FlowCriticConfig, QuantileCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies import FlowPolicyConfig, GaussianPolicyConfig
from floq.types import Batch, Statistics

NETWORK = NetworkConfig((32, 32), layer_norm=True)
CRITICS = {
    "scalar": ScalarCriticConfig(network=NETWORK),
    "flow": FlowCriticConfig(integration_steps=4, noise_samples=8, network=NETWORK),
}
COMMON = {"discount": 0.8, "learning_rate": 2e-3, "target_rate": 0.02, "value_network": NETWORK}
STATES, ACTIONS, SUPPORTED = 4, 4, 3
STATISTICS = Statistics(STATES, ACTIONS, -1.0, 1.0)
EYE = np.eye(4, dtype=np.float32)  # states and actions


class Problem:
    """Deterministic states; the data has three of four actions."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.rewards = random.uniform(-1, 0, (STATES, SUPPORTED))
        self.following = random.integers(0, STATES, (STATES, SUPPORTED))
        self.masks = (random.uniform(size=(STATES, SUPPORTED)) > 0.2).astype(float)

    def batch(self):
        """Every transition of the data, four times."""
        states, actions = (
            np.tile(column.ravel(), 4)
            for column in np.meshgrid(range(STATES), range(SUPPORTED), indexing="ij")
        )
        rows = (
            EYE[states],
            EYE[actions],
            self.rewards[states, actions],
            self.masks[states, actions],
            EYE[self.following[states, actions]],
        )
        return Batch(*(jnp.asarray(values, jnp.float32) for values in rows))

    def values(self, statistic, discount):
        """V of each state, by iterating V(s) = statistic over the data's actions of r + γ V(s′)."""
        values = np.zeros(STATES)
        for _ in range(200):
            returns = self.rewards + discount * self.masks * values[self.following]
            values = np.array([statistic(row) for row in returns])
        return values


def expectile(numbers, level):
    """Where the weighted errors above and below are equal, by bisection."""
    low, high = numbers.min(), numbers.max()
    for _ in range(60):
        middle = (low + high) / 2
        slope = np.sum(np.abs(level - (numbers < middle)) * (numbers - middle))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return low


def learned_values(module, config, batch):
    """V of each state, and Q of the data, after training."""

    @jax.jit
    def train():
        state = module.init(config, STATISTICS, key=jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), config.learning_rate_decay)
        state, _ = jax.lax.scan(
            lambda state, key: (module.update(config, state, batch, key=key)[0], None), state, keys
        )
        critic = state.parameters.critic
        noise = critic.sample_noise((len(batch.rewards), 64), key=jax.random.key(2))
        values = critic.values(batch.observations, batch.actions, noise)
        return state.parameters.value(jnp.asarray(EYE))[:, 0], values

    return train()


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("scalar", "expectile"),
        pytest.param("flow", "expectile", marks=pytest.mark.slow),
        pytest.param("scalar", "quantile", marks=pytest.mark.slow),
        pytest.param("flow", "quantile", marks=pytest.mark.slow),
    ],
)
def test_the_value_is_that_of_the_best_supported_action(name, statistic):
    """The upper quantile of three actions is the best of them, an expectile is that expectile.

    V, and Q of the data's actions, are within 5 % of the range of the fixed point, whatever the
    critic; the action that the data has not plays no part.
    """
    problem = Problem()
    config = iql.Config(
        critic=CRITICS[name],
        policy=GaussianPolicyConfig(network=NetworkConfig((8,))),
        expectile=0.8,
        value_statistic=statistic,
        learning_rate_decay=3000,
        **COMMON,
    )
    batch = problem.batch()
    of_row = np.max if statistic == "quantile" else lambda row: expectile(row, 0.8)
    exact = problem.values(of_row, config.discount)
    returns = batch.rewards + config.discount * batch.masks * (batch.next_observations @ exact)
    values, of_data = learned_values(iql, config, batch)
    tolerance = 0.05 * np.ptp(returns)
    assert np.ptp(exact) > 3 * tolerance
    np.testing.assert_allclose(values, exact, atol=tolerance)
    np.testing.assert_allclose(of_data, returns, atol=tolerance)


def test_a_critic_with_noise_reads_the_draws_of_the_update():
    """Other random numbers are another loss for critics that read some, and the same for one.

    The flow's loss is summed over the members, as the scalar critic's.
    """
    batch = Problem().batch()
    quantile = QuantileCriticConfig(quantile_samples=4, network=NETWORK, frequencies=4)
    for critic, differs in ((CRITICS["scalar"], False), (CRITICS["flow"], True), (quantile, True)):
        config = iql.Config(critic=critic, value_network=NETWORK)

        @jax.jit
        def values(key, config=config):
            state = iql.init(config, STATISTICS, key=jax.random.key(0))
            draws = iql.sample_draws(state.parameters, len(batch.rewards), key=key)
            _, metrics = iql.loss(config, state.parameters, state.targets, batch, draws)
            following = state.parameters.value(batch.next_observations)
            targets = batch.rewards[:, None] + config.discount * batch.masks[:, None] * following
            own = state.parameters.critic.loss(
                batch.observations, batch.actions, targets, draws.critic
            )
            return metrics, own

        (one, own), (other, _) = values(jax.random.key(0)), values(jax.random.key(1))
        assert (one["critic/loss"] != other["critic/loss"]) == differs
        assert (one["policy/advantage"] != other["policy/advantage"]) == differs
        np.testing.assert_allclose(one["critic/loss"], critic.members * own, rtol=1e-4)


@pytest.mark.parametrize("name", CRITICS)
def test_the_flow_acts_by_the_best_of_the_behaviours_actions(name):
    """IFQL with any critic: its action is one of the clone's, and depends on its own key alone."""
    config = ifql.Config(
        critic=CRITICS[name],
        policy=FlowPolicyConfig(flow_steps=2, network=NetworkConfig((8,))),
        candidates=4,
        value_network=NETWORK,
    )
    state = jax.jit(ifql.init, static_argnums=(0, 1))(config, STATISTICS, key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), STATES)
    act = jax.jit(ifql.act, static_argnums=0)
    actions = act(config, state, EYE, keys=keys)

    @jax.jit
    def behaviours(observation, key):
        behaviour = state.parameters.behaviour
        noise, _ = candidate_noise(state.parameters.critic, behaviour, 4, key[None])
        return behaviour.actions(jnp.tile(observation, (4, 1)), noise[0])

    for row in range(STATES):
        candidates = behaviours(EYE[row], keys[row])
        assert np.abs(np.subtract(candidates, actions[row])).max(axis=1).min() < 1e-5
    alone = act(config, state, EYE[1:2], keys=keys[1:2])
    np.testing.assert_allclose(alone[0], actions[1], rtol=1e-4, atol=1e-5)
