"""The floq update as a pure function."""

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import algorithm_of, floq, fql
from floq.algorithms.common import repeat_for_samples
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies import FlowPolicyConfig
from floq.types import Batch, Statistics

CONFIG = floq.Config(
    critic=FlowCriticConfig(
        integration_steps=2, noise_samples=3, network=NetworkConfig((16, 16), layer_norm=True)
    ),
    distilled=ScalarCriticConfig(network=NetworkConfig((16,), layer_norm=True)),
    policy=FlowPolicyConfig(flow_steps=2, network=NetworkConfig((16,))),
    batch_size=8,
    learning_rate_decay=3,
)
STATISTICS = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)
init = jax.jit(floq.init, static_argnums=(0, 1))
update, loss, critic_loss, act, act_behaviour = (
    jax.jit(function, static_argnums=0)
    for function in (floq.update, floq.loss, floq.critic_loss, floq.act, floq.act_behaviour)
)


@pytest.fixture(scope="module")
def state():
    return init(CONFIG, STATISTICS, key=jax.random.key(0))


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(1)
    rows = (
        random.normal(size=(8, 3)),
        random.uniform(-1, 1, size=(8, 2)),
        random.uniform(-1, 0, size=8),
        np.array([1, 0] * 4),
        random.normal(size=(8, 3)),
    )
    return Batch(*(jnp.asarray(values, jnp.float32) for values in rows))


@pytest.fixture(scope="module")
def draws(state):
    return jax.jit(floq.sample_draws, static_argnums=1)(state.parameters, 8, key=jax.random.key(2))


def largest_difference(one, other):
    differences = jax.tree.map(lambda a, b: np.abs(np.subtract(a, b)).max(), one, other)
    return max(jax.tree.leaves(differences))


def test_the_order_of_a_batch_does_not_matter(state, batch, draws):
    """Permuting transitions together with their draws leaves the loss."""
    order = np.array([5, 2, 7, 0, 1, 3, 6, 4])
    permute = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[order], tree))
    one, _ = loss(CONFIG, state.parameters, state.targets, batch, draws)
    other, _ = loss(CONFIG, state.parameters, state.targets, *permute((batch, draws)))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_next_state_of_a_terminal_step_is_ignored(state, batch, draws):
    """Where the mask is 0 another next observation changes nothing; where it is 1 it does."""

    def loss_with(rows):
        moved = batch._replace(next_observations=batch.next_observations + 5 * rows[:, None])
        return float(loss(CONFIG, state.parameters, state.targets, moved, draws)[0])

    unmoved = float(loss(CONFIG, state.parameters, state.targets, batch, draws)[0])
    assert loss_with(batch.masks == 0) == unmoved
    assert loss_with(batch.masks == 1) != unmoved


@pytest.mark.slow
def test_scanned_updates_equal_single_ones(state, batch):
    """Three updates in one compiled loop are three single ones."""
    keys = jax.random.split(jax.random.key(3), 3)
    single = state
    for key in keys:
        single, _ = update(CONFIG, single, batch, key=key)
    scanned, _ = jax.jit(
        lambda state: jax.lax.scan(
            lambda state, key: floq.update(CONFIG, state, batch, key=key), state, keys
        )
    )(state)
    assert int(scanned.step) == 3
    assert largest_difference(scanned.parameters, single.parameters) < 1e-5


def test_the_target_averages_the_parameters_before_the_step(state, batch):
    """One update from a target equal to the critic leaves the target where it was."""
    after, _ = update(CONFIG, state, batch, key=jax.random.key(4))
    assert largest_difference(after.targets, state.targets) < 1e-7
    assert largest_difference(after.parameters.critic, state.parameters.critic) > 1e-5


def test_the_policy_gets_no_gradient_from_the_critic_loss(state, batch, draws):
    """Next actions are proposed, not learned; and the policy's loss leaves both critics alone."""

    @jax.jit
    def gradients(parameters):
        of_critic = jax.grad(lambda p: floq.critic_loss(CONFIG, p, state.targets, batch, draws)[0])
        of_policy = jax.grad(lambda p: floq.policy_loss(CONFIG, p, batch, draws.policy)[0])
        return of_critic(parameters), of_policy(parameters)

    of_critic, of_policy = gradients(state.parameters)
    for leaf in jax.tree.leaves((of_critic.policy, of_policy.critic, of_policy.distilled)):
        np.testing.assert_array_equal(leaf, 0)
    for tree in (of_critic.critic, of_critic.distilled, of_policy.policy):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree)) > 0


def test_normalised_q_does_not_depend_on_the_scale_of_values(state, batch, draws):
    """With `normalize_q` the policy's gradient is the same for values ten times as large."""
    config = dataclasses.replace(CONFIG, normalize_q=True)
    scaled = eqx.tree_at(
        lambda p: (p.distilled.members.head.kernel, p.distilled.members.head.bias),
        state.parameters,
        replace_fn=lambda leaf: 10 * leaf,
    )
    gradient = jax.jit(jax.grad(lambda p: floq.policy_loss(config, p, batch, draws.policy)[0]))
    gradients = [gradient(p).policy for p in (state.parameters, scaled)]
    assert largest_difference(*gradients) < 1e-5


def test_actions_stay_in_bounds_and_depend_on_their_own_key_only(state):
    """A row's action is the same whatever its neighbours are."""
    observations = 10 * jax.random.normal(jax.random.key(5), (6, 3))
    keys = jax.random.split(jax.random.key(6), 6)
    for choose in (act, act_behaviour):
        actions = choose(CONFIG, state, observations, keys=keys)
        assert np.abs(actions).max() <= 1
        np.testing.assert_allclose(
            choose(CONFIG, state, observations[3:4], keys=keys[3:4]), actions[3:4], rtol=1e-5
        )


def test_a_config_knows_its_algorithm():
    """The config's type names the algorithm; anything else is a named error."""
    assert algorithm_of(CONFIG) == ("floq", floq)
    with pytest.raises(TypeError, match="int"):
        algorithm_of(3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("discount", 1.0),
        ("target_rate", 0.0),
        ("batch_size", 0),
        ("learning_rate", float("nan")),
        ("bc_coefficient", -1.0),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    """The error names the setting."""
    with pytest.raises(ValueError, match=setting):
        floq.Config(**{setting: value})


def test_the_best_candidate_is_an_action_of_the_behaviour_flow_that_the_critic_prefers(state):
    """With all values equal but for the sign of the first action, its sign is always chosen."""
    critic = state.parameters.critic

    def prefers(sign):
        """A field whose velocity is the first action times the sign, whatever else it reads."""
        network = jax.tree.map(jnp.zeros_like, critic.members.network)
        kernel = network.first.kernel.at[:, STATISTICS.observation_dim, 0].set(sign)
        norms = [
            eqx.tree_at(lambda n: n.scale, norm, jnp.ones_like(norm.scale))
            for norm in network.norms
        ]
        passing = network.layers[0].kernel.at[:, 0, 0].set(1.0)
        head = network.head.kernel.at[:, 0, 0].set(1.0)
        network = eqx.tree_at(
            lambda n: (n.first.kernel, n.layers[0].kernel, n.head.kernel, *n.norms),
            network,
            (kernel, passing, head, *norms),
        )
        return state._replace(
            parameters=eqx.tree_at(lambda p: p.critic.members.network, state.parameters, network)
        )

    config = dataclasses.replace(CONFIG, candidates=32)
    observations = jax.random.normal(jax.random.key(7), (20, 3))
    keys = jax.random.split(jax.random.key(8), 20)
    behaviour = act_behaviour(CONFIG, state, observations, keys=keys)[:, 0]
    up = act(config, prefers(1.0), observations, keys=keys)[:, 0]
    down = act(config, prefers(-1.0), observations, keys=keys)[:, 0]
    assert np.mean(down) < np.mean(behaviour) < np.mean(up)
    assert (down < up).all()


def test_a_chunk_of_actions_is_discounted_as_that_many_steps():
    """γ = 0.9 over chunks of 3 is one decision at 0.729, in the target and in the support."""
    config = dataclasses.replace(CONFIG, discount=0.9, action_chunk=3)
    assert config.decision_discount == pytest.approx(0.729)
    critic = init(config, STATISTICS, key=jax.random.key(0)).parameters.critic
    assert critic.noise_interval[0] == pytest.approx(-0.1 / (1 - 0.729))


def test_the_learning_rate_falls_to_zero(state, batch):
    """After as many updates as its decay takes, an update no longer moves the parameters."""
    states = [state]
    for step in range(4):
        states.append(update(CONFIG, states[-1], batch, key=jax.random.key(step))[0])
    moved = [
        largest_difference(one.parameters, other.parameters)
        for one, other in itertools.pairwise(states)
    ]
    assert moved[0] > moved[1] > moved[2] > 0
    assert moved[3] == 0


@pytest.mark.parametrize(
    ("module", "config", "metric"),
    [
        (floq, CONFIG, "critic/flow_loss"),
        (fql, fql.Config(critic=CONFIG.distilled, policy=CONFIG.policy), "critic/loss"),
    ],
    ids=["floq", "fql"],
)
def test_targets_can_take_the_best_of_the_behaviour_flow(module, config, metric, batch):
    """Then the one-step policy has no part in them."""
    state = jax.jit(module.init, static_argnums=(0, 1))(config, STATISTICS, key=jax.random.key(0))
    draws = jax.jit(module.sample_draws, static_argnums=1)(
        state.parameters, 8, key=jax.random.key(2)
    )
    spoiled = eqx.tree_at(
        lambda parameters: parameters.policy.one_step,
        state.parameters,
        jax.tree.map(lambda leaf: leaf + 1, state.parameters.policy.one_step),
    )
    compiled = jax.jit(module.loss, static_argnums=0)

    def loss_of_critic(config, parameters):
        return compiled(config, parameters, state.targets, batch, draws)[1][metric]

    chosen = dataclasses.replace(config, target_candidates=4)
    assert loss_of_critic(chosen, spoiled) == loss_of_critic(chosen, state.parameters)
    assert loss_of_critic(config, spoiled) != loss_of_critic(config, state.parameters)
    assert loss_of_critic(chosen, state.parameters) != loss_of_critic(config, state.parameters)


def test_the_judge_of_targets_is_the_one_that_is_set(state, batch, draws):
    """Another distilled critic changes the targets that it judges, and not those of the flow."""
    distilled = jax.tree.map(jnp.negative, state.parameters.distilled)
    other = dataclasses.replace(state.parameters, distilled=distilled)
    for judge in ("distilled", "flow"):
        config = dataclasses.replace(CONFIG, target_candidates=8, target_judge=judge)
        one, changed = (
            critic_loss(config, parameters, state.targets, batch, draws)[1]["critic/flow_loss"]
            for parameters in (state.parameters, other)
        )
        assert (one == changed) == (judge == "flow")


def test_distillation_can_take_fewer_samples_and_steps(state, batch, draws):
    """The distilled critic's aim is then the mean over those samples, at those steps."""
    config = dataclasses.replace(CONFIG, distillation_samples=2, distillation_steps=1)
    _, metrics = critic_loss(config, state.parameters, state.targets, batch, draws)

    @jax.jit
    def aim_and_loss(parameters):
        ends = parameters.critic.return_samples(
            batch.observations,
            batch.actions,
            draws.critic.initial_noise[:, :2],
            integration_steps=1,
        )
        aim = jnp.mean(ends, axis=(0, 2))
        return aim, parameters.distilled.loss(batch.observations, batch.actions, aim[:, None])

    aim, expected = aim_and_loss(state.parameters)
    np.testing.assert_allclose(metrics["critic/value"], np.mean(aim), rtol=1e-5)
    np.testing.assert_allclose(metrics["critic/distilled_loss"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="distillation_samples is 4"):
        dataclasses.replace(CONFIG, distillation_samples=4)


def test_the_spread_is_that_of_each_members_ends_beside_the_starts(state, batch, draws):
    """Its square is a ratio of variances; a field that is 0 has 1, and one sample has none."""
    _, metrics = critic_loss(CONFIG, state.parameters, state.targets, batch, draws)
    noise = draws.critic.initial_noise
    ends = state.parameters.critic.return_samples(batch.observations, batch.actions, noise)
    ratio = np.var(ends, axis=-1).mean() / np.var(noise, axis=-1).mean()
    np.testing.assert_allclose(metrics["critic/spread"], np.sqrt(ratio), rtol=1e-4)
    silent = jax.tree.map(jnp.zeros_like, state.parameters)
    _, metrics = critic_loss(CONFIG, silent, state.targets, batch, draws)
    np.testing.assert_allclose(metrics["critic/spread"], 1, rtol=1e-5)
    config = dataclasses.replace(CONFIG, distillation_samples=1)
    _, metrics = critic_loss(config, state.parameters, state.targets, batch, draws)
    assert "critic/spread" not in metrics


def test_targets_take_one_step_in_the_coarse_updates_alone(state, batch, draws):
    """The first of them are made with K = 1, all others with the critic's K."""
    config = dataclasses.replace(CONFIG, coarse_updates=3)
    apply = jax.jit(floq.apply_update, static_argnums=0)

    def flow_loss(step):
        return apply(config, state._replace(step=jnp.int32(step)), batch, draws)[1][
            "critic/flow_loss"
        ]

    @functools.partial(jax.jit, static_argnums=0)
    def expected(steps):
        parameters = state.parameters
        next_actions = parameters.policy.actions(
            repeat_for_samples(batch.next_observations, 3), draws.next_action_noise
        )
        return parameters.critic.td_loss(
            state.targets,
            batch,
            next_actions,
            CONFIG.discount,
            draws.critic,
            integration_steps=steps,
        )[0]

    np.testing.assert_allclose(flow_loss(2), expected(1), rtol=1e-5)
    np.testing.assert_allclose(flow_loss(3), expected(2), rtol=1e-5)
    assert abs(flow_loss(2) / flow_loss(3) - 1) > 1e-4
