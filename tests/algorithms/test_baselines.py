"""ReBRAC, IQL, IFQL and behaviour cloning; the recorded updates hold their numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import bc, ifql, implicit, iql, rebrac
from floq.critics import ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies import DeterministicPolicyConfig, FlowPolicyConfig, GaussianPolicyConfig
from floq.types import Batch, Statistics

CRITIC = ScalarCriticConfig(aggregation="min", network=NetworkConfig((16,), layer_norm=True))
FLOW = FlowPolicyConfig(flow_steps=8, network=NetworkConfig((16, 16)))
GAUSSIAN = GaussianPolicyConfig(network=NetworkConfig((16,)))
IMPLICIT = {"critic": CRITIC, "value_network": NetworkConfig((16,), layer_norm=True)}
ROWS = 32
COMMON = {"batch_size": ROWS, "learning_rate": 1e-2}
CONFIGS = {
    "rebrac": rebrac.Config(
        critic=CRITIC, policy=DeterministicPolicyConfig(network=NetworkConfig((16,))), **COMMON
    ),
    "iql": iql.Config(policy=GAUSSIAN, **IMPLICIT, **COMMON),
    "ifql": ifql.Config(policy=FLOW, **IMPLICIT, **COMMON),
    "bc_flow": bc.Config(policy=FLOW, **COMMON),
    "bc_gaussian": bc.Config(policy=GAUSSIAN, **COMMON),
}
MODULES = {"rebrac": rebrac, "iql": iql, "ifql": ifql, "bc_flow": bc, "bc_gaussian": bc}
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)

with_values = pytest.mark.parametrize("name", ["rebrac", "iql", "ifql"])
of_all = pytest.mark.parametrize("name", list(CONFIGS))


@functools.cache
def state_of(name):
    init = jax.jit(MODULES[name].init, static_argnums=(0, 1))
    return init(CONFIGS[name], STATISTICS, key=jax.random.key(0))


@functools.cache
def compiled_loss(name):
    loss = jax.jit(MODULES[name].loss, static_argnums=0)
    state = state_of(name)
    return lambda batch, draws: float(
        loss(CONFIGS[name], state.parameters, state.targets, batch, draws)[0]
    )


@functools.cache
def compiled_updates(name):
    """Any number of updates on one batch, compiled once."""

    def updates(state, batch, count):
        def body(index, state):
            key = jax.random.fold_in(jax.random.key(3), index)
            return MODULES[name].update(CONFIGS[name], state, batch, key=key)[0]

        return jax.lax.fori_loop(0, count, body, state)

    return jax.jit(updates)


@functools.cache
def compiled_act(act):
    return jax.jit(act, static_argnums=0)


def draws_of(name):
    draw = jax.jit(MODULES[name].sample_draws, static_argnums=1)
    return draw(state_of(name).parameters, ROWS, key=jax.random.key(2))


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(1)
    rows = (
        random.normal(size=(ROWS, 3)),
        random.uniform(-1, 1, size=(ROWS, 2)),
        random.uniform(-1, 0, size=ROWS),
        np.tile([1, 0], ROWS // 2),
        random.normal(size=(ROWS, 3)),
        random.uniform(-1, 1, size=(ROWS, 2)),
        np.tile([1, 0, 0, 1], ROWS // 4),
    )
    return Batch(*(jnp.asarray(values, jnp.float32) for values in rows))


def largest_difference(one, other):
    differences = jax.tree.map(lambda a, b: np.abs(np.subtract(a, b)).max(), one, other)
    return max(jax.tree.leaves(differences))


@of_all
def test_the_order_of_a_batch_does_not_matter(name, batch):
    """Permuting transitions together with their draws leaves the loss."""
    loss, draws = compiled_loss(name), draws_of(name)
    order = np.random.default_rng(7).permutation(ROWS)
    permuted = jax.tree.map(lambda leaf: np.asarray(leaf)[order], (batch, draws))
    np.testing.assert_allclose(loss(batch, draws), loss(*permuted), rtol=1e-5)


@with_values
def test_the_next_state_of_a_terminal_step_is_ignored(name, batch):
    """Where the mask is 0 another next observation or action changes nothing; elsewhere it does."""
    loss, draws = compiled_loss(name), draws_of(name)

    def loss_with(rows):
        return loss(
            batch._replace(
                next_observations=batch.next_observations + 5 * rows[:, None],
                next_actions=batch.next_actions + 0.5 * rows[:, None],
            ),
            draws,
        )

    assert loss_with(batch.masks == 0) == loss(batch, draws)
    assert loss_with(batch.masks == 1) != loss(batch, draws)


@pytest.mark.parametrize("name", ["bc_flow", "bc_gaussian"])
def test_cloning_reads_neither_rewards_nor_what_follows(name, batch):
    """Other rewards, masks and next states leave the loss; other actions do not."""
    loss, draws = compiled_loss(name), draws_of(name)
    other = batch._replace(
        rewards=batch.rewards + 1,
        masks=1 - batch.masks,
        next_observations=-batch.next_observations,
    )
    assert loss(other, draws) == loss(batch, draws)
    assert loss(batch._replace(actions=-batch.actions), draws) != loss(batch, draws)


@of_all
def test_actions_stay_in_bounds_and_depend_on_their_own_key_only(name):
    """A row's action is the same whatever its neighbours are."""
    module, config = MODULES[name], CONFIGS[name]
    # Ten times as large weights lead far out of the bounds.
    state = jax.tree.map(lambda leaf: 10 * np.asarray(leaf), state_of(name))
    observations = 10 * np.random.default_rng(5).normal(size=(ROWS, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(6), ROWS)
    acts = [module.act, *([module.act_behaviour] if hasattr(module, "act_behaviour") else [])]
    for act in acts:
        act = compiled_act(act)
        actions = act(config, state, observations, keys=keys)
        assert actions.shape == (ROWS, 2)
        assert np.abs(actions).max() <= 1
        reversed_actions = act(config, state, observations[::-1], keys=keys[::-1])
        np.testing.assert_allclose(reversed_actions[::-1], actions, rtol=1e-4, atol=1e-5)


@of_all
def test_of_two_actions_the_better_is_learned_and_cloning_learns_both(name):
    """One state, actions of ±½ in each entry, of which the first's sign is the reward."""
    signs = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)] * (ROWS // 4), np.float32)
    ones, zeros = np.ones((ROWS, 3), np.float32), np.zeros((ROWS, 2), np.float32)
    rows = ones, signs / 2, signs[:, 0], zeros[:, 0], ones, zeros, zeros[:, 0]
    bandit = Batch(*map(jnp.asarray, rows))
    state = compiled_updates(name)(state_of(name), bandit, 1000)
    keys = jax.random.split(jax.random.key(4), ROWS)
    act = compiled_act(MODULES[name].act)
    actions = act(CONFIGS[name], state, bandit.observations, keys=keys)
    if name == "bc_gaussian":
        np.testing.assert_allclose(actions, 0, atol=0.05)
    elif name == "bc_flow":
        # Its samples are the data's two actions, not what lies between them.
        assert np.mean(np.abs(np.abs(actions) - 0.5)) < 0.15
        assert (np.abs(np.mean(actions > 0, axis=0) - 0.5) < 0.2).all()
    else:
        assert np.mean(actions[:, 0] > 0.25) > 0.9


@pytest.mark.parametrize("module", [iql, ifql])
def test_values_and_policy_do_not_move_each_other(module, batch):
    """Q and V learn from the data alone, and the policy's loss takes them as they are."""
    name = module.__name__.split(".")[-1]
    state, config, draws = state_of(name), CONFIGS[name], draws_of(name)

    @jax.jit
    def gradients(parameters):
        whole = jax.grad(lambda p: module.loss(config, p, state.targets, batch, draws)[0])
        of_values = jax.grad(lambda p: implicit.critic_loss(config, p, state.targets, batch)[0])
        return whole(parameters), of_values(parameters)

    whole, of_values = gradients(state.parameters)
    assert largest_difference(of_values.critic, whole.critic) < 1e-6
    assert largest_difference(of_values.value, whole.value) < 1e-6
    policy = of_values.policy if module is iql else of_values.behaviour
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(policy)) == 0


def test_rebrac_moves_its_policy_and_slow_copies_in_every_second_update(batch):
    """From fresh moments the first update leaves the policy and both copies, the second does not.

    The copies average the parameters from before the step.
    """
    start, updates = state_of("rebrac"), compiled_updates("rebrac")
    first = updates(start, batch, 1)
    second = updates(first, batch, 1)
    assert largest_difference(first.parameters.policy, start.parameters.policy) == 0
    assert largest_difference(first.targets, start.targets) == 0
    assert largest_difference(first.parameters.critic, start.parameters.critic) > 1e-3
    assert largest_difference(second.parameters.policy, first.parameters.policy) > 1e-3
    averaged = jax.tree.map(
        lambda slow, fast: 0.995 * slow + 0.005 * fast, first.targets, first.parameters
    )
    assert largest_difference(second.targets, averaged) < 1e-7


def test_rebrac_leaves_unknown_next_actions_out(batch):
    """A masked next action changes nothing, another one does."""
    loss, draws = compiled_loss("rebrac"), draws_of("rebrac")

    def loss_with(rows):
        return loss(batch._replace(next_actions=batch.next_actions + 0.5 * rows[:, None]), draws)

    ongoing = batch.masks == 1
    assert loss_with(ongoing & (batch.next_action_masks == 0)) == loss(batch, draws)
    assert loss_with(ongoing & (batch.next_action_masks == 1)) != loss(batch, draws)


def test_rebrac_says_what_it_needs(batch):
    """Without next actions the penalty cannot be had, and 0 of it needs none."""
    without = batch._replace(next_actions=None, next_action_masks=None)
    actions = jnp.zeros((ROWS, 2))
    with pytest.raises(ValueError, match="critic_bc_coefficient=0"):
        rebrac.next_action_penalty(CONFIGS["rebrac"], without, actions)
    free = rebrac.Config(critic_bc_coefficient=0.0)
    np.testing.assert_array_equal(rebrac.next_action_penalty(free, without, actions), 0)


def test_the_penalty_is_a_sum_over_entries_and_unmasked_by_default(batch):
    """A distance of 0.3 in each of two entries costs 2 · 0.09 of the coefficient."""
    config = rebrac.Config(critic_bc_coefficient=0.5)
    given = batch._replace(next_actions=jnp.full((ROWS, 2), 0.3), next_action_masks=None)
    penalty = rebrac.next_action_penalty(config, given, jnp.zeros((ROWS, 2)))
    np.testing.assert_allclose(penalty, 0.09, rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "setting", "value"),
    [
        (rebrac, "policy_interval", 0),
        (rebrac, "critic_bc_coefficient", -1.0),
        (iql, "expectile", 1.0),
        (iql, "inverse_temperature", float("nan")),
        (ifql, "candidates", 0),
        (bc, "batch_size", 0),
    ],
)
def test_settings_out_of_range_are_refused(module, setting, value):
    """The error names the setting."""
    with pytest.raises(ValueError, match=setting):
        module.Config(**{setting: value})
