"""FQL: a one-step flow policy that climbs its critic directly (arXiv 2502.02538).

The critic may be any of the library's. A scalar one gives FQL, with residual blocks FQL-ResNet, a
quantile one FQL-IQN, a categorical one FQL-categorical. With a flow critic, the policy's gradient
goes through its K steps: floq without the distilled critic.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.algorithms.common import (
    State,
    TDConfig,
    act_by_behaviour_flow,
    act_by_flow_policy,
    gradient_step,
    initial_state,
    policy_next_actions,
)
from floq.critics import CriticConfig, ScalarCriticConfig
from floq.policies.flow import FlowPolicy, FlowPolicyConfig, FlowPolicyDraws
from floq.settings import check_not_negative
from floq.types import Batch, Critic, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(TDConfig):
    """Settings of FQL; the defaults are the paper's.

    Attributes:
        critic: The critic, of any kind.
        policy: The flow policy.
        bc_coefficient: α: weight of the one-step policy's distance to the behaviour flow. Tune
            this one first.
        normalize_q: Divides the policy's Q term by the batch's mean |Q|, so that
            `bc_coefficient` does not depend on the scale of the rewards.
        candidates: 0 acts by the one-step policy, as published. Otherwise acts by the best of
            that many actions of the behaviour flow, judged by the critic.
        target_candidates: 0 computes targets with the one-step policy's actions, as published.
            Otherwise with the best of that many actions of the behaviour flow, judged by the
            critic (arXiv 2007.11091).
    """

    critic: CriticConfig = ScalarCriticConfig()
    policy: FlowPolicyConfig = FlowPolicyConfig()
    bc_coefficient: float = 10.0
    normalize_q: bool = False
    candidates: int = 0
    target_candidates: int = 0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        check_not_negative(self, "bc_coefficient", "candidates", "target_candidates")


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    critic: Critic
    policy: FlowPolicy


class Draws(NamedTuple):
    """All randomness of one update.

    Attributes:
        next_action_noise: Noise ε of the policy's next action: a fresh one for each sample.
        critic: The random numbers of the critic's loss.
        value_noise: What the critic reads where the policy climbs it.
        policy: Noise and times of the policy's losses.
        candidate_keys: Keys of the behaviour flow's next actions, where targets choose among them.
    """

    next_action_noise: Float[Array, "batch samples act"]
    critic: Any
    value_noise: Float[Array, "batch samples"]
    policy: FlowPolicyDraws
    candidate_keys: Key[Array, " batch"] | None = None


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes and rewards."""
    statistics = config.with_encoder(statistics)
    critic_key, policy_key = jax.random.split(key)
    parameters = Parameters(
        config.critic.create(statistics, discount=config.decision_discount, key=critic_key),
        FlowPolicy(statistics, config.policy, key=policy_key),
    )
    return initial_state(config, parameters, parameters.critic)


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Draws:
    """All random numbers of an update on `batch_size` transitions."""
    action_key, critic_key, value_key, policy_key = jax.random.split(key, 4)
    critic, policy = parameters.critic, parameters.policy
    shape = (batch_size, critic.noise_samples)
    return Draws(
        jax.random.normal(action_key, (*shape, policy.action_dim)),
        critic.sample_draws(batch_size, key=critic_key),
        critic.sample_noise(shape, key=value_key),
        policy.sample_draws(batch_size, key=policy_key),
        jax.random.split(jax.random.fold_in(action_key, 0), batch_size),
    )


def critic_loss(
    config: Config, parameters: Parameters, target_critic: Critic, batch: Batch, draws: Draws
) -> tuple[Float[Array, ""], Metrics]:
    """The critic's loss against TD targets; the policy only proposes next actions."""
    critic = parameters.critic
    next_actions = jax.lax.stop_gradient(
        policy_next_actions(
            config,
            parameters.policy,
            critic,
            batch.next_observations,
            draws.next_action_noise,
            draws.candidate_keys,
        )
    )
    loss, targets = critic.td_loss(
        target_critic, batch, next_actions, config.decision_discount, draws.critic
    )
    metrics = {"critic/loss": loss, "critic/target": jnp.mean(targets)}
    return loss, metrics


def policy_loss(
    config: Config, parameters: Parameters, batch: Batch, draws: Draws
) -> tuple[Float[Array, ""], Metrics]:
    """The flow policy's loss, where the one-step policy climbs the (fixed) critic.

    It climbs the mean over members, whatever the critic's aggregation, as the published runs do.
    """
    critic = jax.lax.stop_gradient(parameters.critic)

    def value_of(actions: Float[Array, "batch act"]) -> Float[Array, " batch"]:
        samples = critic.return_samples(batch.observations, actions, draws.value_noise)
        return jnp.mean(samples, axis=(0, 2))

    return parameters.policy.loss(
        batch.observations,
        batch.actions,
        value_of,
        draws.policy,
        bc_coefficient=config.bc_coefficient,
        normalize_q=config.normalize_q,
    )


def loss(
    config: Config, parameters: Parameters, target_critic: Critic, batch: Batch, draws: Draws
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments."""
    critic_term, critic_metrics = critic_loss(config, parameters, target_critic, batch, draws)
    policy_term, policy_metrics = policy_loss(config, parameters, batch.for_policy, draws)
    return critic_term + policy_term, critic_metrics | policy_metrics


def apply_update(config: Config, state: State, batch: Batch, draws: Draws) -> tuple[State, Metrics]:
    """One Adam step on the whole loss, given every random number of it."""
    return gradient_step(loss, config, state, batch, draws, averaged=lambda p: p.critic)


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


act = act_by_flow_policy
act_behaviour = act_by_behaviour_flow
