"""floq: a flow critic, and a one-step flow policy that climbs its distillation.

The method of arXiv 2509.06863 with the policy of arXiv 2502.02538.
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Real

from floq.algorithms.common import (
    State,
    TDConfig,
    act_by_behaviour_flow,
    act_by_flow_policy,
    feature_norm,
    gradient_step,
    initial_state,
    policy_next_actions,
)
from floq.critics.flow import FlowCritic, FlowCriticConfig, FlowCriticDraws
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.losses import expectile_loss, td_target
from floq.policies.flow import FlowPolicy, FlowPolicyConfig, FlowPolicyDraws
from floq.settings import check_not_negative
from floq.types import Batch, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(TDConfig):
    """Settings of floq; the defaults are the paper's.

    Attributes:
        critic: The flow critic.
        distilled: The plain critic that is regressed on the flow's values and that the policy
            climbs.
        policy: The flow policy.
        bc_coefficient: The paper's α: weight of the one-step policy's distance to the behaviour
            flow. Tune this one first.
        normalize_q: Divides the policy's Q term by the batch's mean |Q|, so that
            `bc_coefficient` does not depend on the scale of the rewards.
        candidates: 0 acts by the one-step policy, as published. Otherwise acts by the best of
            that many actions of the behaviour flow, judged by the flow critic itself, or by the
            distilled one if the flow reads a longer `critic_chunk`.
        target_candidates: 0 computes targets with the one-step policy's actions, as published.
            Otherwise with the best of that many actions of the behaviour flow (arXiv 2007.11091):
            no value feeds on an action that the data does not know. For a policy that acts by
            `candidates`.
        target_judge: What chooses among `target_candidates`: the "distilled" critic, which costs
            little, or the "flow" itself.
        distillation_samples: Noise samples whose ends the distilled critic is regressed on; 0 for
            all m, as published.
        distillation_steps: Steps of that flow; 0 for the critic's K, as published.
        distillation_expectile: Level of the expectile of the flow's values that the distilled
            critic is; .5 is their mean, as published. Above it, the best of how a longer chunk
            goes on counts for its first actions.
        coarse_updates: First updates whose targets take one step of the flow in place of K; 0 is
            the published form.
        critic_chunk: Steps that the flow critic reads at once; 0 for those of `action_chunk`, as
            published. With more, the distilled critic reads the first `action_chunk` of them, the
            policy plans these, and targets read the slow copy of the distilled critic: decoupled
            chunks, after arXiv 2512.10926.
    """

    critic: FlowCriticConfig = FlowCriticConfig()
    distilled: ScalarCriticConfig = ScalarCriticConfig()
    policy: FlowPolicyConfig = FlowPolicyConfig()
    bc_coefficient: float = 10.0
    normalize_q: bool = False
    candidates: int = 0
    target_candidates: int = 0
    target_judge: Literal["distilled", "flow"] = "distilled"
    distillation_samples: int = 0
    distillation_steps: int = 0
    distillation_expectile: float = 0.5
    coarse_updates: int = 0
    critic_chunk: int = 0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        check_not_negative(
            self,
            *("bc_coefficient", "candidates", "target_candidates"),
            *("distillation_samples", "distillation_steps", "coarse_updates", "critic_chunk"),
        )
        if not 0 < self.distillation_expectile < 1:
            raise ValueError(
                f"distillation_expectile is {self.distillation_expectile}: give a number between 0 "
                "and 1."
            )
        if self.distillation_samples > self.critic.noise_samples:
            raise ValueError(
                f"distillation_samples is {self.distillation_samples}, of "
                f"critic.noise_samples={self.critic.noise_samples}: give no more than there are."
            )
        if 0 < self.critic_chunk < self.action_chunk:
            raise ValueError(
                f"critic_chunk is {self.critic_chunk} and action_chunk is {self.action_chunk}: a "
                "critic reads at least the actions that the policy plans, so give as many or more."
            )
        if self.is_decoupled:
            plain = {"target_judge": self.target_judge == "distilled"}
            plain |= {"coarse_updates": self.coarse_updates == 0}
            plain |= {"critic.backup": self.critic.backup == "expected"}
            for name in (name for name, is_plain in plain.items() if not is_plain):
                raise ValueError(
                    f"{name} is set and critic_chunk={self.critic_chunk} is longer than "
                    f"action_chunk={self.action_chunk}: then targets read the distilled critic and "
                    f"no flow, so leave {name} as it is by default."
                )

    @property
    def is_decoupled(self) -> bool:
        """Whether the flow critic reads more actions than the policy plans."""
        return self.critic_chunk > self.action_chunk


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    critic: FlowCritic
    distilled: ScalarCritic
    policy: FlowPolicy


class Draws(NamedTuple):
    """All randomness of one update.

    Attributes:
        next_action_noise: Noise ε of the policy's next action: a fresh one for each sample.
        critic: Starts and times of the flow-matching loss and of its targets. The starts also
            carry the flow that the distilled critic is regressed on.
        policy: Noise and times of the policy's losses.
        candidate_keys: Keys of the behaviour flow's next actions, where targets choose among them.
    """

    next_action_noise: Float[Array, "batch samples act"]
    critic: FlowCriticDraws
    policy: FlowPolicyDraws
    candidate_keys: Key[Array, " batch"] | None = None


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes and rewards."""
    statistics = config.with_encoder(statistics)
    critic_key, distilled_key, policy_key = jax.random.split(key, 3)
    planned = statistics._replace(action_dim=_planned_size(config, statistics.action_dim))
    parameters = Parameters(
        FlowCritic(statistics, config.critic, discount=config.decision_discount, key=critic_key),
        ScalarCritic(planned, config.distilled, key=distilled_key),
        FlowPolicy(planned, config.policy, key=policy_key),
    )
    return initial_state(config, parameters, _averaged(config, parameters))


def _averaged(config: Config, parameters: Parameters) -> FlowCritic | ScalarCritic:
    """The critic whose slow copy the targets read."""
    return parameters.distilled if config.is_decoupled else parameters.critic


def _planned_size(config: Config, action_dim: int) -> int:
    """Entries of what the policy plans, of the data's decisions with `action_dim` entries."""
    if not config.is_decoupled:
        return action_dim
    return action_dim // config.critic_chunk * config.action_chunk


def planned_actions(
    config: Config, actions: Float[Array, "batch act"]
) -> Float[Array, "batch planned"]:
    """The first `action_chunk` of the actions that the flow critic reads: what is planned."""
    return actions[:, : _planned_size(config, actions.shape[1])]


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Draws:
    """All random numbers of an update on `batch_size` transitions."""
    action_key, critic_key, policy_key = jax.random.split(key, 3)
    critic, policy = parameters.critic, parameters.policy
    return Draws(
        jax.random.normal(action_key, (batch_size, critic.noise_samples, policy.action_dim)),
        critic.sample_draws(batch_size, key=critic_key),
        policy.sample_draws(batch_size, key=policy_key),
        jax.random.split(jax.random.fold_in(action_key, 0), batch_size),
    )


def critic_loss(
    config: Config,
    parameters: Parameters,
    target_critic: Any,
    batch: Batch,
    draws: Draws,
    *,
    target_steps: Int[Array, ""] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """Flow matching against TD targets, and distillation of the flow's values.

    The policy only proposes next actions here and gets no gradient. The flow of the targets takes
    `target_steps`, if not the critic's K; with a longer `critic_chunk` the target is
    r + γ · mask · D̄(s′, a′), with the slow copy D̄ of the distilled critic.
    """
    critic = parameters.critic
    next_actions = jax.lax.stop_gradient(
        policy_next_actions(
            config,
            parameters.policy,
            parameters.distilled if config.target_judge == "distilled" else critic,
            batch.next_observations,
            draws.next_action_noise,
            draws.candidate_keys,
        )
    )
    if config.is_decoupled:
        next_values = target_critic.values(batch.next_observations, next_actions)
        targets = td_target(batch.rewards, batch.masks, next_values, config.decision_discount)
        targets = targets[:, None]
        flow_loss = critic.loss(batch.observations, batch.actions, targets, draws.critic)
    else:
        flow_loss, targets = critic.td_loss(
            target_critic,
            batch,
            next_actions,
            config.decision_discount,
            draws.critic,
            integration_steps=target_steps,
        )
    distilled_loss, ends, starts = distillation_loss(
        config,
        critic,
        parameters.distilled,
        batch.observations,
        batch.actions,
        draws.critic,
    )
    samples = jnp.mean(ends, axis=0)
    values = jnp.mean(samples, axis=-1)
    metrics = {
        "critic/flow_loss": flow_loss,
        "critic/distilled_loss": distilled_loss,
        "critic/value": jnp.mean(values),
        "critic/td_error": jnp.mean(jnp.square(values - jnp.mean(targets, axis=-1))),
        "critic/sample_variance": jnp.mean(jnp.var(samples, axis=-1)),
    }
    if starts.shape[1] > 1:
        least = jnp.finfo(starts.dtype).tiny  # Of an interval so narrow that starts round to one.
        width = jnp.maximum(jnp.mean(jnp.var(starts, axis=-1)), least)
        metrics["critic/spread"] = jnp.sqrt(jnp.mean(jnp.var(ends, axis=-1)) / width)
    return flow_loss + distilled_loss, metrics


def distillation_loss(
    config: Config,
    critic: FlowCritic,
    distilled: ScalarCritic,
    observations: Real[Array, "batch obs"],
    actions: Float[Array, "batch act"],
    draws: FlowCriticDraws,
) -> tuple[Float[Array, ""], Float[Array, "ensemble batch samples"], Float[Array, "batch samples"]]:
    """The distilled critic's loss against the flow's values, the ends they average, their starts.

    The flow is only read here and gets no gradient. At another level τ than .5 the loss is
    2 |τ − 1(u < 0)| u² with the error u = v − D(s, a), of which the square is the one at .5.
    """
    noise = draws.initial_noise[:, : config.distillation_samples or critic.noise_samples]
    steps = config.distillation_steps or None
    flow_values = jax.lax.stop_gradient(
        critic.return_samples(observations, actions, noise, integration_steps=steps)
    )
    values = jnp.mean(jnp.mean(flow_values, axis=0), axis=-1)
    planned, level = planned_actions(config, actions), config.distillation_expectile
    if level == 0.5:
        return distilled.loss(observations, planned, values[:, None]), flow_values, noise
    errors = values[:, None] - distilled.member_values(observations, planned)
    return 2 * jnp.mean(expectile_loss(errors, level)), flow_values, noise


def policy_loss(
    config: Config, parameters: Parameters, batch: Batch, draws: FlowPolicyDraws
) -> tuple[Float[Array, ""], Metrics]:
    """The flow policy's loss, where the one-step policy climbs the (fixed) distilled critic."""
    distilled = jax.lax.stop_gradient(parameters.distilled)
    return parameters.policy.loss(
        batch.observations,
        planned_actions(config, batch.actions),
        lambda actions: distilled.values(batch.observations, actions),
        draws,
        bc_coefficient=config.bc_coefficient,
        normalize_q=config.normalize_q,
    )


def loss(
    config: Config,
    parameters: Parameters,
    target_critic: Any,
    batch: Batch,
    draws: Draws,
    *,
    target_steps: Int[Array, ""] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments."""
    critic_term, critic_metrics = critic_loss(
        config, parameters, target_critic, batch, draws, target_steps=target_steps
    )
    policy_term, policy_metrics = policy_loss(config, parameters, batch.for_policy, draws.policy)
    return critic_term + policy_term, critic_metrics | policy_metrics


def apply_update(config: Config, state: State, batch: Batch, draws: Draws) -> tuple[State, Metrics]:
    """One Adam step on the whole loss, given every random number of it."""
    rule = loss
    if config.coarse_updates:
        is_coarse = state.step < config.coarse_updates
        steps = jnp.where(is_coarse, 1, config.critic.integration_steps)
        rule = functools.partial(loss, target_steps=steps)
    return gradient_step(
        rule,
        config,
        state,
        batch,
        draws,
        averaged=functools.partial(_averaged, config),
        norms=functools.partial(_feature_norms, config),
    )


def _feature_norms(config: Config, parameters: Parameters, batch: Batch) -> Metrics:
    """Those of both critics, each at the actions that it reads."""
    planned = batch._replace(actions=planned_actions(config, batch.actions))
    return {
        "critic/feature_norm": feature_norm(parameters.critic, batch),
        "distilled/feature_norm": feature_norm(parameters.distilled, planned),
    }


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


def act(
    config: Config,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1]: of the one-step policy, or the best of the behaviour flow's.

    The flow critic chooses, or the distilled one if it alone reads as much as is planned.
    """
    judge = _averaged(config, state.parameters)
    return act_by_flow_policy(config, state, observations, keys=keys, judge=judge)


act_behaviour = act_by_behaviour_flow
