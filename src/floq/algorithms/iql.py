"""IQL: implicit Q-learning with a policy by advantage-weighted regression (arXiv 2110.06169)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.algorithms.common import State, act_by_policy, gradient_step, initial_state
from floq.algorithms.implicit import (
    ImplicitConfig,
    ImplicitDraws,
    critic_loss,
    sample_draws_of,
    state_values,
)
from floq.losses import advantage_weights
from floq.networks import MLP, Encoded, observation_network
from floq.policies.gaussian import GaussianPolicy, GaussianPolicyConfig
from floq.settings import check_not_negative
from floq.types import Batch, Critic, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(ImplicitConfig):
    """Settings of IQL; the defaults are those of the published runs.

    Attributes:
        policy: The Gaussian policy.
        inverse_temperature: β: how much an advantage counts for the weight of an action. 0 clones
            the data's behaviour.
        weight_limit: The largest weight of an action.
    """

    policy: GaussianPolicyConfig = GaussianPolicyConfig()
    inverse_temperature: float = 10.0
    weight_limit: float = 100.0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        check_not_negative(self, "inverse_temperature", "weight_limit")


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    critic: Critic
    value: MLP | Encoded
    policy: GaussianPolicy


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes."""
    statistics = config.with_encoder(statistics)
    critic_key, value_key, policy_key = jax.random.split(key, 3)
    parameters = Parameters(
        config.critic.create(statistics, discount=config.decision_discount, key=critic_key),
        observation_network(statistics, 1, config.value_network, key=value_key),
        GaussianPolicy(statistics, config.policy, key=policy_key),
    )
    return initial_state(config, parameters, parameters.critic)


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> ImplicitDraws:
    """All random numbers of an update on `batch_size` transitions."""
    return sample_draws_of(parameters.critic, batch_size, key=key)


def policy_loss(
    config: Config, parameters: Parameters, batch: Batch, draws: ImplicitDraws = ImplicitDraws()
) -> tuple[Float[Array, ""], Metrics]:
    """Advantage-weighted regression: −min(exp(β (Q(s, a) − V(s))), w) · log π(a | s).

    Both values are the fixed online ones, and Q is aggregated over its members (arXiv 2110.06169,
    equation 7).
    """
    critic, value = jax.lax.stop_gradient((parameters.critic, parameters.value))
    observations, actions = batch.observations, batch.actions
    values = critic.values(observations, actions, draws.value_noise)
    advantages = values - state_values(value, observations)
    weights = advantage_weights(
        advantages, inverse_temperature=config.inverse_temperature, limit=config.weight_limit
    )
    log_probabilities = parameters.policy.log_probabilities(observations, actions)
    loss = -jnp.mean(weights * log_probabilities)
    metrics = {
        "policy/loss": loss,
        "policy/advantage": jnp.mean(advantages),
        "policy/weight": jnp.mean(weights),
        "policy/log_probability": jnp.mean(log_probabilities),
    }
    return loss, metrics


def loss(
    config: Config,
    parameters: Parameters,
    target_critic: Critic,
    batch: Batch,
    draws: ImplicitDraws,
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments."""
    critic_term, critic_metrics = critic_loss(config, parameters, target_critic, batch, draws)
    policy_term, policy_metrics = policy_loss(config, parameters, batch.for_policy, draws)
    return critic_term + policy_term, critic_metrics | policy_metrics


def apply_update(
    config: Config, state: State, batch: Batch, draws: ImplicitDraws
) -> tuple[State, Metrics]:
    """One Adam step on the whole loss, given every random number of it."""
    return gradient_step(loss, config, state, batch, draws, averaged=lambda p: p.critic)


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


act = act_by_policy
