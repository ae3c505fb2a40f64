"""floq's two critics as one, for the value ground: the flow learns, its distillation is read."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from floq.algorithms import floq
from floq.critics import FlowCritic, FlowCriticConfig, ScalarCritic, ScalarCriticConfig
from floq.critics.flow import FlowCriticDraws
from floq.types import Actions, Batch, Statistics


@dataclasses.dataclass(frozen=True)
class DistilledCriticConfig:
    """Settings of a flow critic and of the plain critic that is distilled from it.

    Attributes:
        flow: The flow critic; the plain one has its network, members and aggregation.
        samples: floq's `distillation_samples`.
        steps: floq's `distillation_steps`.
    """

    flow: FlowCriticConfig
    samples: int = 0
    steps: int = 0

    def within(self, config: floq.Config) -> floq.Config:
        """The settings of floq with these."""
        return dataclasses.replace(
            config,
            critic=self.flow,
            distillation_samples=self.samples,
            distillation_steps=self.steps,
        )


class DistilledCritic(eqx.Module):
    """A flow critic and its distillation, trained as floq trains them.

    A `floq.types.Critic` whose values and features are the distilled critic's, as a policy would
    climb them, and whose samples and targets are the flow's.
    """

    flow: FlowCritic
    distilled: ScalarCritic
    config: floq.Config = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: DistilledCriticConfig,
        *,
        discount: float,
        key: Key[Array, ""],
    ):
        flow_key, distilled_key = jax.random.split(key)
        flow = config.flow
        scalar = ScalarCriticConfig(flow.members, flow.aggregation, flow.network)
        self.flow = FlowCritic(statistics, flow, discount=discount, key=flow_key)
        self.distilled = ScalarCritic(statistics, scalar, key=distilled_key)
        self.config = config.within(floq.Config(discount=discount, distilled=scalar))

    @property
    def noise_samples(self) -> int:
        """The flow's."""
        return self.flow.noise_samples

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """The flow's."""
        return self.flow.sample_noise(shape, key=key)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> FlowCriticDraws:
        """The flow's."""
        return self.flow.sample_draws(batch_size, key=key)

    def return_samples(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples"]:
        """The flow's."""
        return self.flow.return_samples(observations, actions, noise)

    def values(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None = None,
    ) -> Float[Array, " batch"]:
        """The distilled critic's."""
        return self.distilled.values(observations, actions, noise)

    def features(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples_each features"]:
        """The distilled critic's."""
        return self.distilled.features(observations, actions, noise)

    def loss(
        self,
        observations: Float[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: FlowCriticDraws,
    ) -> Float[Array, ""]:
        """The flow's loss against given targets, and the distillation's."""
        flow_loss = self.flow.loss(observations, actions, targets, draws)
        return flow_loss + self._distillation_loss(observations, actions, draws)

    def td_loss(
        self,
        target_critic: "DistilledCritic",
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: FlowCriticDraws,
    ) -> tuple[Float[Array, ""], Float[Array, "batch target_samples"]]:
        """The flow's loss against its slow copy's targets and the distillation's; those targets."""
        flow_loss, targets = self.flow.td_loss(
            target_critic.flow, batch, next_actions, discount, draws
        )
        loss = self._distillation_loss(batch.observations, batch.actions, draws)
        return flow_loss + loss, targets

    def _distillation_loss(self, observations: Any, actions: Any, draws: Any) -> Float[Array, ""]:
        loss, _ = floq.distillation_loss(
            self.config, self.flow, self.distilled, observations, actions, draws
        )
        return loss
