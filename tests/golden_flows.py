"""Recorded updates of the algorithms with a flow policy: floq, FQL and FQL-IQN."""

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

from floq.algorithms import floq, fql
from floq.algorithms.common import State
from floq.critics import (
    CriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.critics.flow import FlowCriticDraws
from floq.critics.quantile import QuantileCriticDraws
from floq.flow_matching import interpolate
from floq.losses import td_target
from floq.networks import NetworkConfig, ValueSupport
from floq.policies import BehaviourDraws, FlowPolicyConfig, FlowPolicyDraws
from floq.types import Batch, Metrics, NoDraws

# The loss terms of the files, by the names that our metrics have.
_POLICY_METRICS = {
    "actor/distill_loss": "policy/distillation_loss",
    "actor/q": "policy/value",
    "actor/q_loss": "policy/value_loss",
}
_FLOQ_METRICS = {
    **_POLICY_METRICS,
    "actor/bc_flow_loss": "policy/bc_flow_loss",
    "critic/floq_loss": "critic/flow_loss",
    "critic/distilled_critic_loss": "critic/distilled_loss",
    "critic/td_error": "critic/td_error",
    "critic/var_flow_returns": "critic/sample_variance",
}


def _common_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    if not settings.get("activate_before_layernorm", True) or settings.get("encoder"):
        raise ValueError("Only state observations with layer norms after activations are known.")
    return {
        "policy": FlowPolicyConfig(
            flow_steps=settings.get("actor_flow_steps", settings.get("flow_steps")),
            network=NetworkConfig(
                tuple(settings["actor_hidden_dims"]), layer_norm=settings["actor_layer_norm"]
            ),
        ),
        "discount": settings["discount"],
        "batch_size": settings["batch_size"],
        "learning_rate": settings["lr"],
        "target_rate": settings["tau"],
        "bc_coefficient": settings["alpha"],
        "normalize_q": settings["normalize_q_loss"],
    }


def _block_network(settings: Mapping[str, Any]) -> NetworkConfig:
    return NetworkConfig(
        hidden_sizes=(settings["block_width"],) * settings["block_depth"],
        residual_blocks=settings["num_transformations"] * settings["use_resnets"],
        layer_norm=settings["layer_norm"],
    )


def _policy_draws(draws: Tree) -> FlowPolicyDraws:
    return FlowPolicyDraws(
        BehaviourDraws(draws["bc_noise"], draws["bc_time"]), draws["onestep_noise"]
    )


def floq_config(settings: Mapping[str, Any], velocity_inputs: int) -> floq.Config:
    """Our config for a file's settings; the time embedding shows in the network's input size."""
    histogram = settings["use_prob_embed"]
    time_size = (
        velocity_inputs
        - int(np.prod(settings["ob_dims"]))
        - settings["action_dim"]
        - (settings["num_bins"] - 1 if histogram else 1)
    )
    if not settings["embed_time"]:
        time_embedding = "identity"
    else:
        time_embedding = "cosine" if time_size == 1 else "fourier"
    return floq.Config(
        critic=FlowCriticConfig(
            integration_steps=settings["critic_flow_steps"],
            noise_samples=settings["noise_samples"],
            noise_coverage=settings["noise_coverage"],
            members=settings["flow_num_ensembles"],
            aggregation=settings["q_agg"],
            network=_block_network(settings),
            value_embedding="histogram" if histogram else "scalar",
            histogram_points=settings["num_bins"],
            histogram_sigma=settings["sigma"],
            time_embedding=time_embedding,
            fourier_frequencies=time_size,
            supervision="start" if settings["train_at_zero_only"] else "path",
        ),
        distilled=ScalarCriticConfig(
            members=settings["distill_num_ensembles"],
            network=NetworkConfig(
                tuple(settings["value_hidden_dims"]), layer_norm=settings["layer_norm"]
            ),
        ),
        **_common_settings(settings),
    )


def _load_floq(state: State, networks: Tree) -> State:
    """The state with the arrays of a file."""
    parameters = state.parameters
    field = parameters.critic.members.network
    loaded = eqx.tree_at(
        lambda p: (
            p.critic.members.network,
            p.distilled.members,
            p.policy.behaviour.network,
            p.policy.one_step,
        ),
        parameters,
        (
            load_network(field, networks["velocity"]),
            load_network(parameters.distilled.members, networks["distilled_critic"]),
            load_network(parameters.policy.behaviour.network, networks["bc_flow"]),
            load_network(parameters.policy.one_step, networks["onestep_actor"]),
        ),
    )
    targets = eqx.tree_at(
        lambda critic: critic.members.network,
        parameters.critic,
        load_network(field, networks["target_velocity"]),
    )
    return state._replace(parameters=loaded, targets=targets)


def _policy_loss(config: floq.Config | fql.Config, metrics: Metrics) -> Any:
    """The sum of the policy's terms."""
    distillation = config.bc_coefficient * metrics["policy/distillation_loss"]
    return metrics["policy/bc_flow_loss"] + distillation + metrics["policy/value_loss"]


def _floq_values(
    config: floq.Config, state: State, batch: Batch, draws: floq.Draws, metrics: Metrics
) -> dict[str, Any]:
    """The steps of the update that the files record, each from the part that computes it."""
    critic, policy = state.parameters.critic, state.parameters.policy
    observations, actions = batch.observations, batch.actions
    next_observations = batch.next_observations
    samples = draws.next_action_noise.shape[1]
    next_actions = policy.actions(
        jnp.repeat(next_observations[:, None], samples, axis=1), draws.next_action_noise
    )
    target = state.targets
    noise, time, next_noise = draws.critic
    next_samples = target.return_samples(next_observations, next_actions, next_noise)
    next_values = target.values(next_observations, next_actions, next_noise)
    targets = td_target(batch.rewards, batch.masks, next_values, config.discount)
    points = interpolate(noise, jnp.broadcast_to(targets[:, None], noise.shape), time)
    critic_loss = metrics["critic/flow_loss"] + metrics["critic/distilled_loss"]
    policy_loss = _policy_loss(config, metrics)
    return {
        "next_actions": next_actions,
        "next_values": target.aggregate(next_samples),
        "td_target": targets,
        "flow_values": critic.return_samples(observations, actions, noise),
        "interpolant": points,
        "velocity": critic.velocities(observations, actions, points, time),
        "total_loss": critic_loss + policy_loss,
        "critic/q": jnp.mean(state.parameters.distilled.values(observations, actions)),
        "critic/critic_loss": critic_loss,
        "actor/actor_loss": policy_loss,
        **{theirs: metrics[ours] for theirs, ours in _FLOQ_METRICS.items()},
    }


def replay_floq(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of floq."""
    first = layers_of(arrays["params"]["velocity"]["mlp"])[0][0]
    config = floq_config(settings, first["kernel"].shape[-2])
    statistics = statistics_of(arrays, settings["r_min"], settings["r_max"])
    state = blank_state(floq, config, statistics)
    critic = state.parameters.critic
    support = ValueSupport(settings["bin_low"], settings["bin_high"])
    interval = (settings["noise_low"], settings["noise_high"])
    np.testing.assert_allclose(critic.members.support, support, rtol=1e-6)
    np.testing.assert_allclose(critic.noise_interval, interval, rtol=1e-6)
    recorded = arrays["draws"]
    draws = floq.Draws(
        recorded["next_action_noise"],
        FlowCriticDraws(
            recorded["initial_noise"], recorded["time"], recorded["next_initial_noise"]
        ),
        _policy_draws(recorded),
    )
    return compare(floq, config, state, draws, _load_floq, arrays, _floq_values)


def _load_fql(state: State, networks: Tree) -> State:
    """The state with the arrays of a file."""
    parameters = state.parameters
    critic = parameters.critic
    loaded = eqx.tree_at(
        lambda p: (p.critic.members, p.policy.behaviour.network, p.policy.one_step),
        parameters,
        (
            load_network(critic.members, networks["critic"]),
            load_network(parameters.policy.behaviour.network, networks["bc_flow"]),
            load_network(parameters.policy.one_step, networks["onestep_actor"]),
        ),
    )
    targets = eqx.tree_at(
        lambda c: c.members, critic, load_network(critic.members, networks["target_critic"])
    )
    return state._replace(parameters=loaded, targets=targets)


def _fql_values(
    config: fql.Config, state: State, batch: Batch, draws: fql.Draws, metrics: Metrics
) -> dict[str, Any]:
    """The losses that the files record."""
    policy_loss = _policy_loss(config, metrics)
    levels = getattr(draws.critic, "levels", draws.value_noise)
    values = state.parameters.critic.return_samples(batch.observations, batch.actions, levels)
    return {
        "total_loss": metrics["critic/loss"] + policy_loss,
        "critic/critic_loss": metrics["critic/loss"],
        "critic/q": jnp.mean(values),
        "actor/actor_loss": policy_loss,
        "actor/mean_bc_flow_loss": metrics["policy/bc_flow_loss"],
        **{theirs: metrics[ours] for theirs, ours in _POLICY_METRICS.items()},
    }


def _replay_fql(
    critic: CriticConfig, settings: Mapping[str, Any], arrays: Tree, draws: fql.Draws
) -> Replay:
    config = fql.Config(critic=critic, **_common_settings(settings))
    state = blank_state(fql, config, statistics_of(arrays))
    return compare(fql, config, state, draws, _load_fql, arrays, _fql_values)


def replay_fql(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of FQL, with a dense or a residual critic."""
    critic = ScalarCriticConfig(
        members=settings["value_num_ensembles"],
        aggregation=settings["q_agg"],
        network=_block_network(settings),
    )
    recorded = arrays["draws"]
    next_noise = recorded["next_action_noise"][:, None]
    draws = fql.Draws(
        next_noise,
        NoDraws(),
        np.zeros(next_noise.shape[:2], np.float32),
        _policy_draws(recorded),
    )
    return _replay_fql(critic, settings, arrays, draws)


def replay_fqliqn(settings: Mapping[str, Any], arrays: Tree) -> Replay:
    """An update of FQL-IQN."""
    recorded = arrays["draws"]
    first = layers_of(arrays["params"]["critic"]["value_net"])[0][0]
    critic = QuantileCriticConfig(
        quantile_samples=settings["num_tau_samples"],
        members=first["kernel"].shape[0] if first["kernel"].ndim == 3 else 1,
        aggregation=settings["q_agg"],
        network=NetworkConfig(
            tuple(settings["value_hidden_dims"]), layer_norm=settings["layer_norm"]
        ),
        level_embedding="fourier" if settings["embed_quantile"] else "identity",
        frequencies=settings["quantile_embed_dim"],
    )
    draws = fql.Draws(
        recorded["next_action_noise"],
        QuantileCriticDraws(recorded["quantiles"], recorded["target_quantiles"]),
        recorded["actor_quantiles"],
        _policy_draws(recorded),
    )
    return _replay_fql(critic, settings, arrays, draws)
