"""IFQL: implicit Q-learning that acts by the best of a behaviour flow's actions.

The flow form of IDQL (arXiv 2304.10573), as in arXiv 2502.02538. Q and V never see the policy:
they are trained on the data's actions, and choose among those of a clone when it acts.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key, Real

from floq.algorithms.common import (
    State,
    best_of_behaviour,
    gradient_step,
    initial_state,
)
from floq.algorithms.implicit import ImplicitConfig, ImplicitDraws, critic_loss, sample_draws_of
from floq.networks import MLP, Encoded, observation_network
from floq.policies.flow import BehaviourDraws, BehaviourFlow, FlowPolicyConfig
from floq.settings import check_positive
from floq.types import Batch, Critic, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(ImplicitConfig):
    """Settings of IFQL; the defaults are those of the published runs.

    Attributes:
        policy: The behaviour flow.
        candidates: Actions of the behaviour flow among which the critic chooses.
    """

    policy: FlowPolicyConfig = FlowPolicyConfig()
    candidates: int = 32

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        check_positive(self, "candidates")


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    critic: Critic
    value: MLP | Encoded
    behaviour: BehaviourFlow


class Draws(NamedTuple):
    """All randomness of one update.

    Attributes:
        behaviour: Noise and times of the behaviour flow's loss.
        values: The random numbers of the losses of Q and V.
    """

    behaviour: BehaviourDraws
    values: ImplicitDraws = ImplicitDraws()


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes."""
    statistics = config.with_encoder(statistics)
    critic_key, value_key, behaviour_key = jax.random.split(key, 3)
    parameters = Parameters(
        config.critic.create(statistics, discount=config.decision_discount, key=critic_key),
        observation_network(statistics, 1, config.value_network, key=value_key),
        BehaviourFlow(statistics, config.policy, key=behaviour_key),
    )
    return initial_state(config, parameters, parameters.critic)


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Draws:
    """All random numbers of an update on `batch_size` transitions."""
    return Draws(
        parameters.behaviour.sample_draws(batch_size, key=key),
        sample_draws_of(parameters.critic, batch_size, key=jax.random.fold_in(key, 0)),
    )


def loss(
    config: Config, parameters: Parameters, target_critic: Critic, batch: Batch, draws: Draws
) -> tuple[Float[Array, ""], Metrics]:
    """The whole loss of an update, a deterministic function of its arguments."""
    critic_term, metrics = critic_loss(config, parameters, target_critic, batch, draws.values)
    seen = batch.for_policy
    behaviour_term = parameters.behaviour.loss(seen.observations, seen.actions, draws.behaviour)
    return critic_term + behaviour_term, metrics | {"policy/bc_flow_loss": behaviour_term}


def apply_update(config: Config, state: State, batch: Batch, draws: Draws) -> tuple[State, Metrics]:
    """One Adam step on the whole loss, given every random number of it."""
    return gradient_step(loss, config, state, batch, draws, averaged=lambda p: p.critic)


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
    """Actions in [−1, 1]: of `candidates` of the behaviour flow, those that Q values most."""
    parameters = state.parameters
    return best_of_behaviour(
        parameters.critic, parameters.behaviour, config.candidates, observations, keys
    )


def act_behaviour(
    config: Config,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the behaviour flow: behaviour cloning, of the same run."""
    return state.parameters.behaviour(observations, keys)
