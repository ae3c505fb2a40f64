"""Behaviour cloning, by flow matching or by a Gaussian's likelihood: no values at all."""

import dataclasses
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Key

from floq.algorithms.common import State, TDConfig, act_by_policy, gradient_step, initial_state
from floq.policies.flow import BehaviourFlow, FlowPolicyConfig
from floq.policies.gaussian import GaussianPolicy, GaussianPolicyConfig
from floq.types import Batch, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config(TDConfig):
    """Settings of behaviour cloning.

    Of the settings that all algorithms have, those of targets do nothing here.

    Attributes:
        policy: A flow policy, of which the behaviour flow is trained, or a Gaussian one.
    """

    policy: FlowPolicyConfig | GaussianPolicyConfig = FlowPolicyConfig()


class Parameters(eqx.Module):
    """Everything that the optimizer moves."""

    policy: BehaviourFlow | GaussianPolicy


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The state before the first update, of networks for data of these shapes."""
    statistics = config.with_encoder(statistics)
    match config.policy:
        case FlowPolicyConfig():
            policy = BehaviourFlow(statistics, config.policy, key=key)
        case GaussianPolicyConfig():
            policy = GaussianPolicy(statistics, config.policy, key=key)
    return initial_state(config, Parameters(policy), ())


def sample_draws(parameters: Parameters, batch_size: int, *, key: Key[Array, ""]) -> Any:
    """All random numbers of an update on `batch_size` transitions: those of the policy's loss."""
    return parameters.policy.sample_draws(batch_size, key=key)


def loss(
    config: Config, parameters: Parameters, targets: tuple[()], batch: Batch, draws: Any
) -> tuple[Float[Array, ""], Metrics]:
    """The policy's own loss on the data's actions: flow matching, or −log π(a | s)."""
    seen = batch.for_policy
    loss = parameters.policy.loss(seen.observations, seen.actions, draws)
    return loss, {"policy/loss": loss}


def apply_update(config: Config, state: State, batch: Batch, draws: Any) -> tuple[State, Metrics]:
    """One Adam step on the loss, given every random number of it."""
    return gradient_step(loss, config, state, batch, draws, averaged=lambda p: ())


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after one update on `batch`, and what to log of it."""
    draws = sample_draws(state.parameters, batch.rewards.shape[0], key=key)
    return apply_update(config, state, batch, draws)


act = act_by_policy
