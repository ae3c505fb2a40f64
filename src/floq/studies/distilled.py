"""floq's two critics as one, for the value ground: the flow learns, its distillation is read."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key, Real

from floq.algorithms import floq
from floq.critics import (
    CriticConfig,
    FlowCritic,
    FlowCriticConfig,
    ScalarCritic,
    ScalarCriticConfig,
)
from floq.critics.flow import FlowCriticDraws
from floq.settings import normalise
from floq.types import Actions, Statistics


@dataclasses.dataclass(frozen=True)
class DistilledCriticConfig(CriticConfig):
    """Settings of a flow critic and of the plain critic that is distilled from it.

    Attributes:
        flow: The flow critic; the plain one has its network, members and aggregation.
        samples: floq's `distillation_samples`.
        steps: floq's `distillation_steps`.
    """

    flow: FlowCriticConfig = FlowCriticConfig()
    samples: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        """Refuses settings of another type."""
        normalise(self)

    def create(
        self, statistics: Statistics, *, discount: float, key: Key[Array, ""]
    ) -> "DistilledCritic":
        """The two critics as one."""
        return DistilledCritic(statistics, self, discount=discount, key=key)

    def within(self, config: floq.Config) -> floq.Config:
        """The settings of floq with these."""
        return dataclasses.replace(
            config,
            critic=self.flow,
            distillation_samples=self.samples,
            distillation_steps=self.steps,
        )


def monolith(flow: FlowCriticConfig) -> ScalarCriticConfig:
    """The plain critic with a flow's network and members."""
    return ScalarCriticConfig(flow.members, flow.aggregation, flow.pessimism, flow.network)


class DistilledCritic(FlowCritic):
    """A flow critic that also trains its distillation, as floq does, and gives its values.

    Everything but the values, which a policy would climb, is the flow's.
    """

    distilled: ScalarCritic
    settings: floq.Config = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: DistilledCriticConfig,
        *,
        discount: float,
        key: Key[Array, ""],
    ):
        flow_key, distilled_key = jax.random.split(key)
        super().__init__(statistics, config.flow, discount=discount, key=flow_key)
        scalar = monolith(config.flow)
        self.distilled = ScalarCritic(statistics, scalar, key=distilled_key)
        self.settings = config.within(floq.Config(discount=discount, distilled=scalar))

    def values(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        initial_noise: Float[Array, "batch samples"] | None = None,
        *,
        integration_steps: int | None = None,
    ) -> Float[Array, " batch"]:
        """The distilled critic's, which has neither noise nor steps."""
        return self.distilled.values(observations, actions)

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch #samples"],
        draws: FlowCriticDraws,
        **more: Any,
    ) -> Float[Array, ""]:
        """The flow's loss against given targets, and the distillation's."""
        flow_loss = super().loss(observations, actions, targets, draws, **more)
        distillation_loss, *_ = floq.distillation_loss(
            self.settings, self, self.distilled, observations, actions, draws
        )
        return flow_loss + distillation_loss
