"""ReBRAC: TD3 with a penalty on leaving the data's actions, in policy and critic.

The method of arXiv 2305.09836, which adds it to arXiv 1802.09477.
"""

import dataclasses
import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.algorithms.common import (
    State,
    TDConfig,
    act_by_policy,
    gradient_step,
    initial_state,
)
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.losses import td_target
from floq.policies.deterministic import DeterministicPolicy, DeterministicPolicyConfig
from floq.settings import check_not_negative, check_positive
from floq.types import Batch, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(TDConfig):
    """Settings of ReBRAC; the defaults are those of the published runs.

    Attributes:
        critic: The critic, whose aggregated value both the target and the policy read.
        policy: The deterministic policy.
        bc_coefficient: Weight of the policy's squared distance to the data's action. The policy's Q
            term is divided by the batch's mean |Q|, so this does not depend on the rewards.
        critic_bc_coefficient: Weight of the next action's squared distance to the data's, which
            is taken off the next value. 0 needs no next actions of the data.
        policy_interval: Updates of the critic for one of the policy and of the slow copies.
    """

    critic: ScalarCriticConfig = ScalarCriticConfig(aggregation="min")
    policy: DeterministicPolicyConfig = DeterministicPolicyConfig()
    bc_coefficient: float = 0.01
    critic_bc_coefficient: float = 0.01
    policy_interval: int = 2

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        check_not_negative(self, "bc_coefficient", "critic_bc_coefficient")
        check_positive(self, "policy_interval")


class Parameters(eqx.Module):
    """Everything that the optimizer moves; the slow copies are of all of it."""

    critic: ScalarCritic
    policy: DeterministicPolicy


class Draws(NamedTuple):
    """All randomness of one update.

    Attributes:
        next_action_noise: Standard normal noise of the next actions, before it is clipped.
    """

    next_action_noise: Float[Array, "batch act"]


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes."""
    statistics = config.with_encoder(statistics)
    critic_key, policy_key = jax.random.split(key)
    parameters = Parameters(
        ScalarCritic(statistics, config.critic, key=critic_key),
        DeterministicPolicy(statistics, config.policy, key=policy_key),
    )
    return initial_state(config, parameters, parameters)


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Draws:
    """All random numbers of an update on `batch_size` transitions."""
    return Draws(jax.random.normal(key, (batch_size, parameters.policy.action_dim)))


def _squared_distances(
    one: Float[Array, "batch act"], other: Float[Array, "batch act"]
) -> Float[Array, " batch"]:
    return jnp.sum(jnp.square(one - other), axis=-1)


def next_action_penalty(
    config: Config, batch: Batch, next_actions: Float[Array, "batch act"]
) -> Float[Array, " batch"]:
    """What the next action's distance to the data's next action takes off its value.

    Departure: 0 where the data has no next action. The published runs take the action of the row
    that follows, which at the end of a trajectory is that of another one.

    Raises:
        ValueError: If the batch has no next actions at all, and they are needed.
    """
    if config.critic_bc_coefficient == 0:
        return jnp.zeros(len(next_actions))
    if batch.next_actions is None:
        raise ValueError(
            "This batch has no next_actions, which ReBRAC's critic penalty is measured from: take "
            "batches from a Dataset, or set critic_bc_coefficient=0."
        )
    penalty = config.critic_bc_coefficient * _squared_distances(next_actions, batch.next_actions)
    if batch.next_action_masks is None:
        return penalty
    return batch.next_action_masks * penalty


def critic_loss(
    config: Config, parameters: Parameters, targets: Parameters, batch: Batch, draws: Draws
) -> tuple[Float[Array, ""], Metrics]:
    """The squared error of Q(s, a) to r + γ · mask · (Q̄(s′, a′) − β₂ ‖a′ − â′‖²).

    a′ is the slow policy's action with clipped noise, â′ the data's next action, Q̄ the slow
    critic; the distance is a sum over the entries of an action (arXiv 2305.09836, section 3).
    """
    next_actions = targets.policy.noisy_actions(batch.next_observations, draws.next_action_noise)
    next_values = targets.critic.values(batch.next_observations, next_actions)
    penalty = next_action_penalty(config, batch, next_actions)
    values = td_target(batch.rewards, batch.masks, next_values - penalty, config.decision_discount)
    loss = parameters.critic.loss(batch.observations, batch.actions, values[:, None])
    metrics = {
        "critic/loss": loss,
        "critic/target": jnp.mean(values),
        "critic/penalty": jnp.mean(penalty),
    }
    return loss, metrics


def policy_loss(
    config: Config, parameters: Parameters, batch: Batch
) -> tuple[Float[Array, ""], Metrics]:
    """β₁ ‖μ(s) − a‖² − Q(s, μ(s)) / mean |Q(s, μ(s))|, where the critic is fixed.

    Q is the online critic's; its normalisation is that of arXiv 2106.06860.
    """
    critic = jax.lax.stop_gradient(parameters.critic)
    actions = parameters.policy.means(batch.observations)
    values = critic.values(batch.observations, actions)
    value_loss = -jnp.mean(values) / jax.lax.stop_gradient(jnp.mean(jnp.abs(values)))
    distance = jnp.mean(_squared_distances(actions, batch.actions))
    bc_loss = config.bc_coefficient * distance
    metrics = {
        "policy/value_loss": value_loss,
        "policy/value": jnp.mean(values),
        "policy/bc_loss": bc_loss,
        "policy/bc_distance": distance,
    }
    return bc_loss + value_loss, metrics


def loss(
    config: Config,
    parameters: Parameters,
    targets: Parameters,
    batch: Batch,
    draws: Draws,
    *,
    policy_weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments.

    `policy_weight` is 0 in updates that leave the policy out, but for their metrics.
    """
    critic_term, critic_metrics = critic_loss(config, parameters, targets, batch, draws)
    policy_term, policy_metrics = policy_loss(config, parameters, batch.for_policy)
    return critic_term + policy_weight * policy_term, critic_metrics | policy_metrics


def apply_update(config: Config, state: State, batch: Batch, draws: Draws) -> tuple[State, Metrics]:
    """One Adam step on the loss, given every random number of it.

    The policy and both slow copies take their turn in every `policy_interval`th update, as in
    arXiv 1802.09477, algorithm 1. One Adam moves all networks, so that in between the policy still
    drifts by its momentum.
    """
    is_turn = (state.step + 1) % config.policy_interval == 0
    turn_loss = functools.partial(loss, policy_weight=is_turn.astype(jnp.float32))
    after, metrics = gradient_step(turn_loss, config, state, batch, draws, averaged=lambda p: p)
    targets = jax.tree.map(functools.partial(jnp.where, is_turn), after.targets, state.targets)
    return after._replace(targets=targets), metrics


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


act = act_by_policy
