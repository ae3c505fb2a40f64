"""Recorded updates of the baselines: ReBRAC, IQL and IFQL."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from golden_files import (
    Replay,
    Tree,
    blank_state,
    compare,
    layers_of,
    load_network,
    statistics_of,
)

from floq.algorithms import ifql, iql, rebrac
from floq.algorithms.common import State
from floq.algorithms.implicit import ImplicitDraws, state_values
from floq.critics import ScalarCriticConfig
from floq.critics.scalar import ScalarCritic
from floq.losses import td_target
from floq.networks import MLP, NetworkConfig
from floq.policies import (
    BehaviourDraws,
    DeterministicPolicyConfig,
    FlowPolicyConfig,
    GaussianPolicyConfig,
)
from floq.types import Batch, Metrics


def _network(settings: Mapping[str, Any], part: str) -> NetworkConfig:
    layer_norm = settings["layer_norm" if part == "value" else "actor_layer_norm"]
    return NetworkConfig(tuple(settings[f"{part}_hidden_dims"]), layer_norm=layer_norm)


def _common_settings(settings: Mapping[str, Any], arrays: Tree) -> dict[str, Any]:
    """What the three have in common; the number of members shows in the critic's arrays."""
    if settings.get("encoder"):
        raise ValueError("Only state observations are known.")
    kernel = layers_of(arrays["params"]["critic"]["value_net"])[0][0]["kernel"]
    return {
        "critic": ScalarCriticConfig(
            members=len(kernel) if kernel.ndim == 3 else 1,
            aggregation="min",
            network=_network(settings, "value"),
        ),
        "discount": settings["discount"],
        "batch_size": settings["batch_size"],
        "learning_rate": settings["lr"],
        "target_rate": settings["tau"],
    }


def _load_actor(network: MLP, tree: Tree) -> MLP:
    """The policy's network, whose last layer the files keep apart."""
    last = f"Dense_{1 + len(network.layers)}"
    return load_network(network, {"net": {**tree["actor_net"], last: tree["mean_net"]}})


def _load_critic(critic: ScalarCritic, tree: Tree) -> ScalarCritic:
    return eqx.tree_at(lambda c: c.members, critic, load_network(critic.members, tree))


def _load_rebrac(state: State, networks: Tree) -> State:
    """The state with the arrays of a file."""

    def load(prefix: str) -> rebrac.Parameters:
        template = state.parameters
        network = _load_actor(template.policy.network, networks[f"{prefix}actor"])
        return rebrac.Parameters(
            _load_critic(template.critic, networks[f"{prefix}critic"]),
            eqx.tree_at(lambda p: p.network, template.policy, network),
        )

    return state._replace(parameters=load(""), targets=load("target_"))


def _rebrac_values(
    config: rebrac.Config, state: State, batch: Batch, draws: rebrac.Draws, metrics: Metrics
) -> dict[str, Any]:
    """The losses that the files record."""
    values = state.parameters.critic.member_values(batch.observations, batch.actions)
    policy_loss = metrics["policy/bc_loss"] + metrics["policy/value_loss"]
    is_turn = (state.step + 1) % config.policy_interval == 0
    return {
        "total_loss": metrics["critic/loss"] + is_turn * policy_loss,
        "critic/critic_loss": metrics["critic/loss"],
        "critic/q_max": jnp.max(values),
        "critic/q_mean": jnp.mean(values),
        "critic/q_min": jnp.min(values),
        "actor/actor_loss": metrics["policy/value_loss"],
        "actor/bc_loss": metrics["policy/bc_loss"],
        "actor/mse": metrics["policy/bc_distance"],
        "actor/total_loss": policy_loss,
    }


def replay_rebrac(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of ReBRAC; one that leaves the policy out records no loss of it."""
    config = rebrac.Config(
        policy=DeterministicPolicyConfig(
            network=_network(settings, "actor"),
            squash=settings["tanh_squash"],
            head_scale=settings["actor_fc_scale"],
            target_noise=settings["actor_noise"],
            target_noise_limit=settings["actor_noise_clip"],
        ),
        bc_coefficient=settings["alpha_actor"],
        critic_bc_coefficient=settings["alpha_critic"],
        policy_interval=settings["actor_freq"],
        **_common_settings(settings, arrays),
    )
    is_turn = "actor" in arrays["expected"]
    state = blank_state(rebrac, config, statistics_of(arrays))
    step = np.int32(config.policy_interval - 1 if is_turn else 0)
    draws = rebrac.Draws(arrays["draws"]["target_policy_noise"])
    state = state._replace(step=step)
    return compare(rebrac, config, state, draws, _load_rebrac, arrays, _rebrac_values)


def _implicit_settings(settings: Mapping[str, Any], arrays: Tree) -> dict[str, Any]:
    return {
        "value_network": _network(settings, "value"),
        "expectile": settings["expectile"],
        **_common_settings(settings, arrays),
    }


def _load_implicit(state: State, networks: Tree) -> State:
    """The state with a file's arrays of the critic, its target and the state's value."""
    parameters = state.parameters
    loaded = eqx.tree_at(
        lambda p: (p.critic, p.value),
        parameters,
        (
            _load_critic(parameters.critic, networks["critic"]),
            load_network(parameters.value, networks["value"]),
        ),
    )
    targets = _load_critic(parameters.critic, networks["target_critic"])
    return state._replace(parameters=loaded, targets=targets)


def _implicit_values(
    config: Any, state: State, batch: Batch, metrics: Metrics, policy_loss: str
) -> dict[str, Any]:
    """The losses that the files of both have; ours of the policy has that name in the metrics.

    What the files call q is the target that the critic is regressed on.
    """
    parameters = state.parameters
    next_values = state_values(parameters.value, batch.next_observations)
    targets = td_target(batch.rewards, batch.masks, next_values, config.discount)
    values = state_values(parameters.value, batch.observations)
    return {
        "total_loss": metrics["critic/loss"] + metrics["value/loss"] + metrics[policy_loss],
        "actor/actor_loss": metrics[policy_loss],
        "critic/critic_loss": metrics["critic/loss"],
        "critic/q_max": jnp.max(targets),
        "critic/q_mean": metrics["critic/target"],
        "critic/q_min": jnp.min(targets),
        "value/value_loss": metrics["value/loss"],
        "value/v_max": jnp.max(values),
        "value/v_mean": metrics["value/value"],
        "value/v_min": jnp.min(values),
    }


def _load_iql(state: State, networks: Tree) -> State:
    """The state with the arrays of a file."""
    state = _load_implicit(state, networks)
    policy = state.parameters.policy
    actor = networks["actor"]
    policy = eqx.tree_at(lambda p: p.network, policy, _load_actor(policy.network, actor))
    if policy.log_deviations is not None:
        (name,) = actor.keys() - {"actor_net", "mean_net"}
        policy = eqx.tree_at(lambda p: p.log_deviations, policy, jnp.asarray(actor[name]))
    return state._replace(parameters=eqx.tree_at(lambda p: p.policy, state.parameters, policy))


def _iql_values(
    config: iql.Config, state: State, batch: Batch, draws: ImplicitDraws, metrics: Metrics
) -> dict[str, Any]:
    """The losses that the files record."""
    policy = state.parameters.policy
    means = policy.network(batch.observations)
    return {
        **_implicit_values(config, state, batch, metrics, "policy/loss"),
        "actor/adv": metrics["policy/advantage"],
        "actor/bc_log_prob": metrics["policy/log_probability"],
        "actor/mse": jnp.mean(jnp.square(means - batch.actions)),
        "actor/std": jnp.mean(policy.deviations(batch.actions.shape[-1])),
    }


def replay_iql(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of IQL."""
    if settings["actor_loss"] != "awr":
        raise ValueError(f"The policy is learned by {settings['actor_loss']!r}: only awr is known.")
    config = iql.Config(
        policy=GaussianPolicyConfig(
            _network(settings, "actor"), learned_deviation=not settings["const_std"]
        ),
        inverse_temperature=settings["alpha"],
        **_implicit_settings(settings, arrays),
    )
    state = blank_state(iql, config, statistics_of(arrays))
    return compare(iql, config, state, ImplicitDraws(), _load_iql, arrays, _iql_values)


def _load_ifql(state: State, networks: Tree) -> State:
    """The state with the arrays of a file."""
    state = _load_implicit(state, networks)
    network = load_network(state.parameters.behaviour.network, networks["behaviour_flow"])
    parameters = eqx.tree_at(lambda p: p.behaviour.network, state.parameters, network)
    return state._replace(parameters=parameters)


def _ifql_values(
    config: ifql.Config, state: State, batch: Batch, draws: ifql.Draws, metrics: Metrics
) -> dict[str, Any]:
    """The losses that the files record."""
    return _implicit_values(config, state, batch, metrics, "policy/bc_flow_loss")


def replay_ifql(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of IFQL."""
    config = ifql.Config(
        policy=FlowPolicyConfig(settings["flow_steps"], _network(settings, "actor")),
        candidates=settings["num_samples"],
        **_implicit_settings(settings, arrays),
    )
    state = blank_state(ifql, config, statistics_of(arrays))
    recorded = arrays["draws"]
    draws = ifql.Draws(BehaviourDraws(recorded["bc_noise"], recorded["bc_time"]))
    return compare(ifql, config, state, draws, _load_ifql, arrays, _ifql_values)
