"""Algorithms to which something is done on purpose."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import algorithm_of, floq, fql
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig, is_head
from floq.policies import FlowPolicyConfig
from floq.settings import from_json, to_json
from floq.studies import altered
from floq.types import Batch, Statistics

SMALL = NetworkConfig((8,), layer_norm=True)
POLICY = FlowPolicyConfig(flow_steps=1, network=SMALL)
BASES = {
    "floq": floq.Config(
        critic=FlowCriticConfig(integration_steps=1, noise_samples=2, network=SMALL),
        distilled=ScalarCriticConfig(network=SMALL),
        policy=POLICY,
        batch_size=8,
    ),
    # Usual rates move a slow copy so little that it could as well stand still.
    "fql": fql.Config(
        critic=ScalarCriticConfig(network=SMALL),
        policy=POLICY,
        batch_size=8,
        target_rate=0.5,
        learning_rate=0.1,
    ),
}
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)
KEY = jax.random.key(3)
init = jax.jit(altered.init, static_argnums=(0, 1))
update = jax.jit(altered.update, static_argnums=0)
UPDATES = {
    type(base): jax.jit(algorithm_of(base)[1].update, static_argnums=0) for base in BASES.values()
}


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(1)
    observations, next_observations = generator.normal(size=(2, 8, 3))
    actions, ones = generator.uniform(-1, 1, (8, 2)), np.ones(8)
    return Batch(*map(jnp.float32, (observations, actions, -ones, ones, next_observations)))


def assert_equal(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, other)


def start(config):
    return init(config, STATISTICS, key=jax.random.key(0))


def base_update(base, state, batch, key):
    return UPDATES[type(base)](base, state, batch, key=key)


@pytest.mark.parametrize(
    "base",
    [
        pytest.param(BASES["floq"], id="floq", marks=pytest.mark.slow),
        pytest.param(BASES["fql"], id="fql"),
    ],
)
def test_nothing_altered_is_the_algorithm_itself(base, batch):
    """The same state after an update with the same key, and the same actions."""
    config = altered.Config(base)
    assert (config.batch_size, config.discount) == (base.batch_size, base.discount)
    assert (config.action_chunk, config.n_step) == (base.action_chunk, base.n_step)
    state = start(config)
    after, _ = update(config, state, batch, key=KEY)
    expected, _ = base_update(base, state, batch, jax.random.split(KEY)[1])
    assert_equal(after, expected)
    keys = jax.random.split(KEY, 8)
    for act in ("act", "act_behaviour"):
        one, other = (
            jax.jit(getattr(algorithm, act), static_argnums=0)
            for algorithm in (altered, algorithm_of(base)[1])
        )
        np.testing.assert_array_equal(
            one(config, state, batch.observations, keys=keys),
            other(base, state, batch.observations, keys=keys),
        )


def test_updates_on_one_batch_share_the_slow_copy_of_the_first(batch):
    """All learn against the copy of the first, and the copy follows each."""
    base = BASES["fql"]
    # The first update's copy is of the parameters that it had from the beginning.
    config = altered.Config(base, updates_per_target=3)
    state = start(config)
    after, _ = update(config, state, batch, key=KEY)
    assert after.step == 3
    expected, copy = state, state.targets
    halfway = jax.jit(lambda slow, now: (slow + now) / 2)
    for key in jax.random.split(KEY, 4)[1:]:
        held = expected._replace(targets=state.targets)
        copy = jax.tree.map(halfway, copy, held.parameters.critic)
        expected, _ = base_update(base, held, batch, key)
    assert_equal(after, expected._replace(targets=copy))


def test_frozen_features_stay_while_heads_and_policy_learn(batch):
    """From the update on that is named, and not before."""
    config = altered.Config(BASES["floq"], freeze_after=1)
    first, _ = update(config, start(config), batch, key=KEY)
    second, _ = update(config, first, batch, key=jax.random.key(4))

    def check(moves):
        def compare(path, old, new):
            in_policy = path[0].name == "policy"
            assert np.any(np.asarray(old) != np.asarray(new)) == (
                moves or in_policy or is_head(path)
            ), path

        return compare

    compare = jax.tree_util.tree_map_with_path
    compare(check(True), start(config).parameters, first.parameters)
    compare(check(False), first.parameters, second.parameters)


def test_noise_is_of_the_rewards(batch):
    """An update with noise is one on a batch whose rewards have it; its mean is 0."""
    base = BASES["fql"]
    config = altered.Config(base, target_noise=3.0)
    state = start(config)
    noise_key, own_key = jax.random.split(KEY)
    noise = 3.0 * np.asarray(jax.random.normal(noise_key, (8,)))
    noisy = batch._replace(rewards=jnp.asarray(batch.rewards + noise))
    expected, _ = base_update(base, state, noisy, own_key)
    after, _ = update(config, state, batch, key=KEY)
    assert_equal(after, expected)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_settings_survive_a_file_and_are_refused_out_of_range(base):
    """The base keeps its kind."""
    config = altered.Config(base, 1.0, 2, 3)
    assert from_json(altered.Config, to_json(config)) == config
    assert algorithm_of(config) == ("altered", altered)
    for name, value in (("target_noise", -1.0), ("updates_per_target", 0), ("freeze_after", -1)):
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(config, **{name: value})
