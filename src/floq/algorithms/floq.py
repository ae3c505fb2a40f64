"""floq: a flow critic, and a one-step flow policy that climbs its distillation.

The method of arXiv 2509.06863 with the policy of arXiv 2502.02538.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from floq.critics.flow import FlowCritic, FlowCriticConfig, FlowCriticDraws
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.losses import ema_update, td_target
from floq.policies.flow import FlowPolicy, FlowPolicyConfig, FlowPolicyDraws
from floq.types import Batch, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of floq; the defaults are the paper's.

    Attributes:
        critic: The flow critic.
        distilled: The plain critic that is regressed on the flow's values and that the policy
            climbs.
        policy: The flow policy.
        discount: γ.
        batch_size: Transitions an update.
        learning_rate: Adam's step size, for all networks.
        target_rate: τ of the target field's moving average.
        bc_coefficient: The paper's α: weight of the one-step policy's distance to the behaviour
            flow. Tune this one first.
        normalize_q: Divides the policy's Q term by the batch's mean |Q|, so that
            `bc_coefficient` does not depend on the scale of the rewards.
        action_chunk: Steps that one decision lasts: critic and policy see that many actions at
            once, and the target is their discounted return. 1 is the published form.
        candidates: 0 acts by the one-step policy, as published. Otherwise acts by the best of
            that many actions of the behaviour flow, judged by the flow critic itself.
        learning_rate_decay: Updates over which the learning rate falls to 0 along a cosine; 0
            keeps it, as published.
    """

    critic: FlowCriticConfig = FlowCriticConfig()
    distilled: ScalarCriticConfig = ScalarCriticConfig()
    policy: FlowPolicyConfig = FlowPolicyConfig()
    discount: float = 0.99
    batch_size: int = 256
    learning_rate: float = 3e-4
    target_rate: float = 0.005
    bc_coefficient: float = 10.0
    normalize_q: bool = False
    action_chunk: int = 1
    candidates: int = 0
    learning_rate_decay: int = 0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        if not 0 <= self.discount < 1:
            raise ValueError(f"discount is {self.discount}: give a number in [0, 1).")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate is {self.target_rate}: give a number in (0, 1].")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: give a whole number, 1 or more.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}: give a number above 0.")
        if self.action_chunk < 1:
            raise ValueError(f"action_chunk is {self.action_chunk}: give 1 or more.")
        for name in ("bc_coefficient", "candidates", "learning_rate_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more.")

    @property
    def decision_discount(self) -> float:
        """The discount from one decision to the next: γ to the power of `action_chunk`."""
        return self.discount**self.action_chunk


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    critic: FlowCritic
    distilled: ScalarCritic
    policy: FlowPolicy


class State(NamedTuple):
    """All that an update reads and replaces."""

    parameters: Parameters
    target_critic: FlowCritic
    optimizer: optax.OptState
    step: Int[Array, ""]


class Draws(NamedTuple):
    """All randomness of one update.

    Attributes:
        next_action_noise: Noise ε of the policy's next action: a fresh one for each sample.
        next_initial_noise: Starts of the target field's flow.
        critic: Starts and times of the flow-matching loss. The starts also carry the flow that
            the distilled critic is regressed on.
        policy: Noise and times of the policy's losses.
    """

    next_action_noise: Float[Array, "batch samples act"]
    next_initial_noise: Float[Array, "batch samples"]
    critic: FlowCriticDraws
    policy: FlowPolicyDraws


def _optimizer(config: Config) -> optax.GradientTransformation:
    if config.learning_rate_decay:
        schedule = optax.cosine_decay_schedule(config.learning_rate, config.learning_rate_decay)
        return optax.adam(schedule)
    return optax.adam(config.learning_rate)


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update.

    Args:
        config: Settings.
        statistics: Shapes and reward range of the data.
        key: Key of the initialisation.
    """
    critic_key, distilled_key, policy_key = jax.random.split(key, 3)
    parameters = Parameters(
        FlowCritic(statistics, config.critic, discount=config.decision_discount, key=critic_key),
        ScalarCritic(statistics, config.distilled, key=distilled_key),
        FlowPolicy(statistics, config.policy, key=policy_key),
    )
    return State(
        parameters,
        # A copy, since a state whose arrays are donated must not hold one of them twice.
        jax.tree.map(jnp.copy, parameters.critic),
        _optimizer(config).init(parameters),  # pyright: ignore[reportArgumentType]
        jnp.zeros((), jnp.int32),
    )


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Draws:
    """All random numbers of an update on `batch_size` transitions."""
    action_key, noise_key, critic_key, policy_key = jax.random.split(key, 4)
    critic, policy = parameters.critic, parameters.policy
    shape = (batch_size, critic.config.noise_samples)
    return Draws(
        jax.random.normal(action_key, (*shape, policy.action_dim)),
        critic.sample_noise(shape, key=noise_key),
        critic.sample_draws(batch_size, key=critic_key),
        policy.sample_draws(batch_size, key=policy_key),
    )


def critic_loss(
    config: Config,
    parameters: Parameters,
    target_critic: FlowCritic,
    batch: Batch,
    draws: Draws,
) -> tuple[Float[Array, ""], Metrics]:
    """Flow matching against TD targets, and distillation of the flow's values.

    The policy only proposes next actions here and gets no gradient.
    """
    samples = draws.next_action_noise.shape[1]
    next_actions = jax.lax.stop_gradient(
        parameters.policy.actions(
            jnp.repeat(batch.next_observations[:, None], samples, axis=1), draws.next_action_noise
        )
    )
    next_values = target_critic.values(
        batch.next_observations, next_actions, draws.next_initial_noise
    )
    targets = td_target(batch.rewards, batch.masks, next_values, config.decision_discount)
    flow_loss = parameters.critic.loss(batch.observations, batch.actions, targets, draws.critic)

    flow_values = jax.lax.stop_gradient(
        parameters.critic.return_samples(
            batch.observations, batch.actions, draws.critic.initial_noise
        )
    )
    member_means = jnp.mean(flow_values, axis=0)
    values = jnp.mean(member_means, axis=-1)
    distilled_loss = parameters.distilled.loss(batch.observations, batch.actions, values)
    metrics = {
        "critic/flow_loss": flow_loss,
        "critic/distilled_loss": distilled_loss,
        "critic/value": jnp.mean(values),
        "critic/td_error": jnp.mean(jnp.square(values - targets)),
        "critic/sample_variance": jnp.mean(jnp.var(member_means, axis=-1)),
    }
    return flow_loss + distilled_loss, metrics


def policy_loss(
    config: Config, parameters: Parameters, batch: Batch, draws: FlowPolicyDraws
) -> tuple[Float[Array, ""], Metrics]:
    """Behaviour cloning by flow matching, and a one-step student that climbs the critic.

    L = BC flow + α ‖μ(s, ε) − flow(s, ε)‖² − Q_distill(s, μ(s, ε)), where the critic is fixed
    (arXiv 2502.02538, section 4).
    """
    policy, observations = parameters.policy, batch.observations
    bc_loss = policy.behaviour_loss(observations, batch.actions, draws)
    distillation_loss = policy.distillation_loss(observations, draws)
    values = jax.lax.stop_gradient(parameters.distilled).values(
        observations, policy.actions(observations, draws.one_step_noise)
    )
    value_loss = -jnp.mean(values)
    if config.normalize_q:
        value_loss /= jax.lax.stop_gradient(jnp.mean(jnp.abs(values)))
    metrics = {
        "policy/bc_flow_loss": bc_loss,
        "policy/distillation_loss": distillation_loss,
        "policy/value_loss": value_loss,
        "policy/value": jnp.mean(values),
    }
    return bc_loss + config.bc_coefficient * distillation_loss + value_loss, metrics


def loss(
    config: Config,
    parameters: Parameters,
    target_critic: FlowCritic,
    batch: Batch,
    draws: Draws,
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments."""
    critic_term, critic_metrics = critic_loss(config, parameters, target_critic, batch, draws)
    policy_term, policy_metrics = policy_loss(config, parameters, batch, draws.policy)
    return critic_term + policy_term, critic_metrics | policy_metrics


def apply_update(config: Config, state: State, batch: Batch, draws: Draws) -> tuple[State, Metrics]:
    """One Adam step on the whole loss, given every random number of it.

    The target field averages the parameters from *before* the step, as the published runs do.
    """
    gradients, metrics = jax.grad(loss, argnums=1, has_aux=True)(
        config, state.parameters, state.target_critic, batch, draws
    )
    updates, optimizer = _optimizer(config).update(gradients, state.optimizer)
    parameters = jax.tree.map(jnp.add, state.parameters, updates)
    target_critic = ema_update(state.target_critic, state.parameters.critic, config.target_rate)
    return State(parameters, target_critic, optimizer, state.step + 1), metrics


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


def act(
    config: Config,
    state: State,
    observations: Float[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1]: of the one-step policy, or the best of the behaviour flow's.

    With action chunks, a row holds the actions of the next `action_chunk` steps in sequence.
    """
    if config.candidates == 0:
        return state.parameters.policy.actions(observations, _action_noise(state, keys))
    return jax.vmap(lambda observation, key: _best_candidate(config, state, observation, key))(
        observations, keys
    )


def act_behaviour(
    config: Config,
    state: State,
    observations: Float[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the behaviour flow: behaviour cloning, of the same run."""
    return state.parameters.policy.behaviour_actions(observations, _action_noise(state, keys))


def _action_noise(state: State, keys: Key[Array, " batch"]) -> Float[Array, "batch act"]:
    size = (state.parameters.policy.action_dim,)
    return jax.vmap(lambda key: jax.random.normal(key, size))(keys)


def _best_candidate(
    config: Config, state: State, observation: Float[Array, " obs"], key: Key[Array, ""]
) -> Float[Array, " act"]:
    """Of the behaviour flow's actions at one state, the one that the flow critic values most."""
    critic, policy = state.parameters.critic, state.parameters.policy
    action_key, value_key = jax.random.split(key)
    observations = jnp.broadcast_to(observation, (config.candidates, observation.size))
    noise = jax.random.normal(action_key, (config.candidates, policy.action_dim))
    candidates = policy.behaviour_actions(observations, noise)
    # The same starts for all, so that candidates differ by their actions alone.
    starts = critic.sample_noise((1, critic.config.noise_samples), key=value_key)
    values = critic.values(observations, candidates, jnp.repeat(starts, config.candidates, axis=0))
    return candidates[jnp.argmax(values)]
