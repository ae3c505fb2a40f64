"""What the algorithms share: settings, state, and one gradient step of all networks."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Real

from floq.losses import ema_update
from floq.networks import past_encoder
from floq.observations import EncoderConfig
from floq.policies.flow import BehaviourFlow, FlowPolicy
from floq.settings import check_not_negative, check_positive, normalise
from floq.types import Batch, Critic, Metrics, Statistics

Loss = Callable[[Any, Any, Any, Batch, Any], tuple[Float[Array, ""], Metrics]]
"""The loss of an algorithm: (config, parameters, targets, batch, draws) to the loss and metrics."""


_NORM_ROWS = 16


@dataclasses.dataclass(frozen=True)
class TDConfig:
    """Settings of every algorithm that learns from transitions; the defaults are the paper's.

    Attributes:
        discount: γ of a single step.
        batch_size: Transitions an update.
        learning_rate: Adam's step size, for all networks.
        learning_rate_decay: Updates over which the learning rate falls to 0 along a cosine; 0
            keeps it, as published.
        target_rate: τ of the moving averages that targets are computed with.
        action_chunk: Steps that one decision lasts: critic and policy see that many actions at
            once, and the target is their discounted return. 1 is the published form.
        n_step: Decisions whose rewards a target sums before it reads the next value. 1 is the
            published form.
        encoder: How images become features; vectors are read as they are.
    """

    discount: float = 0.99
    batch_size: int = 256
    learning_rate: float = 3e-4
    learning_rate_decay: int = 0
    target_rate: float = 0.005
    action_chunk: int = 1
    n_step: int = 1
    encoder: EncoderConfig = EncoderConfig()

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        if not 0 <= self.discount < 1:
            raise ValueError(f"discount is {self.discount}: give a number in [0, 1).")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate is {self.target_rate}: give a number in (0, 1].")
        check_positive(self, "batch_size", "action_chunk", "n_step", "learning_rate")
        check_not_negative(self, "learning_rate_decay")

    def with_encoder(self, statistics: Statistics) -> Statistics:
        """What networks are made for: they read images as `encoder` says."""
        if statistics.observations is None:
            return statistics
        form = statistics.observations._replace(encoder=self.encoder)
        return statistics._replace(observations=form)

    @property
    def decision_discount(self) -> float:
        """The discount from a transition's observation to its next one."""
        return self.discount ** (data_chunk(self) * self.n_step)


def data_chunk(config: Any) -> int:
    """Steps of a decision as the data has it: the policy's, unless a critic reads longer ones."""
    return getattr(config, "critic_chunk", 0) or config.action_chunk


def frames_of(config: Any) -> int:
    """Frames of an environment that one observation of the networks holds."""
    return config.encoder.frames if hasattr(config, "encoder") else 1


class State(NamedTuple):
    """All that an update reads and replaces.

    Attributes:
        parameters: Everything that the optimizer moves.
        targets: The moving average of the part of them that targets are computed with.
        optimizer: Adam's moments.
        step: Updates so far.
    """

    parameters: Any
    targets: Any
    optimizer: optax.OptState
    step: Int[Array, ""]


def initial_state(config: TDConfig, parameters: Any, averaged: Any) -> State:
    """The state before the first update.

    Args:
        config: Settings.
        parameters: Everything that the optimizer moves.
        averaged: The part of `parameters` that has a moving average.
    """
    # A copy, since a state whose arrays are donated must not hold one of them twice.
    return State(
        parameters,
        jax.tree.map(jnp.copy, averaged),
        _optimizer(config).init(parameters),
        jnp.zeros((), jnp.int32),
    )


def feature_norm(critic: Critic, batch: Batch) -> Float[Array, ""]:
    """The mean norm of a critic's last hidden layer: what grows as plasticity is lost.

    On a few rows, so that it costs nothing beside the update (arXiv 2603.04333).
    """
    observations, actions = batch.observations[:_NORM_ROWS], batch.actions[:_NORM_ROWS]
    # The same noise in every update: the norm changes with the parameters alone.
    noise = critic.sample_noise((len(actions), 1), key=jax.random.key(0))
    features = critic.features(observations, actions, noise)
    return jnp.mean(jnp.linalg.norm(features, axis=-1))


def feature_norms(parameters: Any, batch: Batch) -> Metrics:
    """The norm of each critic's features."""
    critics = {
        field.name: getattr(parameters, field.name) for field in dataclasses.fields(parameters)
    }
    return {
        f"{name}/feature_norm": feature_norm(critic, batch)
        for name, critic in critics.items()
        if isinstance(critic, Critic)
    }


def gradient_step(
    loss: Loss,
    config: TDConfig,
    state: State,
    batch: Batch,
    draws: Any,
    *,
    averaged: Callable[[Any], Any],
    norms: Callable[[Any, Batch], Metrics] = feature_norms,
) -> tuple[State, Metrics]:
    """One Adam step on a loss, given every random number of it.

    The moving average takes in the parameters from *before* the step, as the published runs do.

    Args:
        loss: What to descend.
        config: Settings.
        state: The state before.
        batch: Transitions.
        draws: The loss's random numbers.
        averaged: Selects the part of the parameters that has a moving average.
        norms: The norms of the critics' features.
    """
    gradients, metrics = jax.grad(loss, argnums=1, has_aux=True)(
        config, state.parameters, state.targets, batch, draws
    )
    metrics |= norms(state.parameters, batch)
    updates, optimizer = _optimizer(config).update(gradients, state.optimizer)
    parameters = jax.tree.map(jnp.add, state.parameters, updates)
    targets = ema_update(state.targets, averaged(state.parameters), config.target_rate)
    return State(parameters, targets, optimizer, state.step + 1), metrics


def repeat_for_samples(
    observations: Real[Array, "batch obs"], samples: int
) -> Real[Array, "batch samples obs"]:
    """Each observation once for each sample of a value."""
    return jnp.repeat(observations[:, None], samples, axis=1)


def best_of_behaviour(
    critic: Critic,
    behaviour: BehaviourFlow,
    candidates: int,
    observations: Real[Array, "batch obs"],
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Of `candidates` actions of the behaviour flow at each state, the one of the largest value."""
    noise = candidate_noise(critic, behaviour, candidates, keys)
    return best_of_noise(critic, behaviour, observations, *noise)


def candidate_noise(
    critic: Critic, behaviour: BehaviourFlow, candidates: int, keys: Key[Array, " batch"]
) -> tuple[Float[Array, "batch candidates act"], Float[Array, "batch samples"]]:
    """The starts of `candidates` actions at each state, and what the critic reads there."""

    def draw(key: Key[Array, ""]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        action_key, value_key = jax.random.split(key)
        actions = jax.random.normal(action_key, (candidates, behaviour.action_dim))
        return actions, critic.sample_noise((1, critic.noise_samples), key=value_key)[0]

    return jax.vmap(draw)(keys)


def best_of_noise(
    critic: Critic,
    behaviour: BehaviourFlow,
    observations: Real[Array, "batch obs"],
    noise: Float[Array, "batch candidates act"],
    value_noise: Float[Array, "batch samples"],
) -> Float[Array, "batch act"]:
    """Of the actions that the behaviour flow makes of `noise`, those of the largest value.

    All candidates are valued with the same noise, so that they differ by their actions alone.
    """
    batch, candidates, size = noise.shape

    def each(rows: Float[Array, "batch size"]) -> Float[Array, "rows size"]:
        shape = (batch, candidates, rows.shape[-1])
        return jnp.broadcast_to(rows[:, None], shape).reshape(-1, rows.shape[-1])

    # Once a state, before each candidate has a copy of it.
    behaviour, states = past_encoder(behaviour, observations)
    critic, judged = past_encoder(critic, observations)
    actions = behaviour.actions(each(states), noise.reshape(-1, size))
    values = critic.values(each(judged), actions, each(value_noise)).reshape(batch, candidates)
    # A mask in place of a gather, which exported programs have no good form of.
    chosen = jnp.argmax(values, axis=1)[:, None] == jnp.arange(candidates)
    return jnp.sum(jnp.where(chosen[..., None], actions.reshape(noise.shape), 0), axis=1)


def policy_next_actions(
    config: Any,
    policy: FlowPolicy,
    judge: Critic,
    next_observations: Real[Array, "batch obs"],
    noise: Float[Array, "batch samples act"],
    keys: Key[Array, " batch"] | None,
) -> Float[Array, "batch samples act"]:
    """What targets suppose to be done next.

    Args:
        config: Settings, of which `target_candidates` is read: the number of the behaviour flow's
            actions among which the judge chooses, or 0 for the one-step policy's action.
        policy: The flow policy.
        judge: The critic that chooses among candidates.
        next_observations: States.
        noise: The one-step policy's, a fresh one for each sample of a target.
        keys: The candidates', one for each state; needed where there are candidates.
    """
    samples = noise.shape[1]
    if config.target_candidates == 0:
        policy, states = past_encoder(policy, next_observations)
        return policy.actions(repeat_for_samples(states, samples), noise)
    assert keys is not None
    best = best_of_behaviour(
        judge, policy.behaviour, config.target_candidates, next_observations, keys
    )
    return repeat_for_samples(best, samples)


def act_by_policy(
    config: Any,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1]: samples of a flow, or another policy's means whatever the keys."""
    return state.parameters.policy(observations, keys)


def act_by_flow_policy(
    config: Any,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
    judge: Critic | None = None,
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1]: of the one-step policy, or the best of the behaviour flow's.

    With action chunks, a row holds the actions of the next `action_chunk` steps in sequence.

    Args:
        config: Settings, of which `candidates` is read: the number of the behaviour flow's actions
            among which the critic chooses, or 0 for the one-step policy's action.
        state: Its parameters have a `critic` and a flow `policy`.
        observations: States.
        keys: One for each of them.
        judge: The critic that chooses, if not `critic`.
    """
    policy: FlowPolicy = state.parameters.policy
    if config.candidates == 0:
        return policy.actions(observations, policy.behaviour.action_noise(keys))
    chooser: Critic = state.parameters.critic if judge is None else judge
    return best_of_behaviour(chooser, policy.behaviour, config.candidates, observations, keys)


def act_by_behaviour_flow(
    config: Any,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the behaviour flow: behaviour cloning, of the same run."""
    return state.parameters.policy.behaviour(observations, keys)


def _optimizer(config: TDConfig) -> optax.GradientTransformation:
    if config.learning_rate_decay:
        schedule = optax.cosine_decay_schedule(config.learning_rate, config.learning_rate_decay)
        return optax.adam(schedule)
    return optax.adam(config.learning_rate)
