"""The plain critic: a network that reads (s, a) and gives Q(s, a) at once."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.critics.common import check_target_samples, pair_inputs
from floq.losses import td_target_samples
from floq.networks import (
    MLP,
    Aggregation,
    NetworkConfig,
    aggregate,
    create_members,
    map_members,
)
from floq.settings import normalise
from floq.types import Actions, Batch, Statistics


@dataclasses.dataclass(frozen=True)
class ScalarCriticConfig:
    """Settings of a scalar critic.

    Attributes:
        members: Networks in the ensemble.
        aggregation: How the members' values become one.
        network: The network of a member.
    """

    members: int = 2
    aggregation: Aggregation = "mean"
    network: NetworkConfig = NetworkConfig(layer_norm=True)

    def __post_init__(self) -> None:
        """Refuses an empty ensemble."""
        normalise(self)
        if self.members < 1:
            raise ValueError(f"members is {self.members}: give a whole number, 1 or more.")


class ScalarCriticDraws(NamedTuple):
    """The random numbers of a scalar critic's loss: none."""


class ScalarCritic(eqx.Module):
    """An ensemble of networks from (s, a) to a Q-value; a `floq.types.Critic` without noise."""

    members: MLP
    config: ScalarCriticConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: ScalarCriticConfig = ScalarCriticConfig(),
        *,
        key: Key[Array, ""],
    ):
        """Initialises the members for a dataset's shapes.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            key: Key of the initialisation.
        """
        self.config = config
        inputs = statistics.observation_dim + statistics.action_dim
        self.members = create_members(
            lambda member_key: MLP(inputs, 1, config.network, key=member_key),
            config.members,
            key=key,
        )

    @property
    def noise_samples(self) -> int:
        """One: a single value says all that this critic knows."""
        return 1

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Zeros, since nothing reads them."""
        return jnp.zeros(shape)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> ScalarCriticDraws:
        """No random numbers."""
        return ScalarCriticDraws()

    def member_values(
        self, observations: Float[Array, "batch obs"], actions: Actions
    ) -> Float[Array, "ensemble batch actions_each"]:
        """Every member's Q(s, a), for each action of a state."""
        inputs = pair_inputs(observations, actions)
        return map_members(lambda member: member(inputs)[..., 0], self.members)

    def features(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch actions_each features"]:
        """Every member's last hidden layer, for each action of a state."""
        inputs = pair_inputs(observations, actions)
        return map_members(lambda member: member.features(member.first(inputs)), self.members)

    def return_samples(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples"]:
        """Every member's Q(s, a), the same for each sample that has the same action."""
        values = self.member_values(observations, actions)
        return jnp.broadcast_to(values, (len(values), *noise.shape))

    def values(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None = None,
    ) -> Float[Array, " batch"]:
        """Q(s, a), aggregated over the members; the mean over actions where a state has several."""
        values = aggregate(self.member_values(observations, actions), self.config.aggregation)
        return jnp.mean(values, axis=-1)

    def loss(
        self,
        observations: Float[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: ScalarCriticDraws = ScalarCriticDraws(),
    ) -> Float[Array, ""]:
        """The squared error to `targets`, a mean over samples, batch and members."""
        check_target_samples(targets)
        values = self.member_values(observations, actions)
        return jnp.mean(jnp.square(values - targets))

    def td_loss(
        self,
        target_critic: "ScalarCritic",
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: ScalarCriticDraws,
    ) -> tuple[Float[Array, ""], Float[Array, "batch 1"]]:
        """The squared error to r + γ · mask · Q̄(s′, a′), and that target."""
        next_values = target_critic.values(batch.next_observations, next_actions)
        targets = td_target_samples(batch.rewards, batch.masks, next_values[:, None], discount)
        return self.loss(batch.observations, batch.actions, targets), targets
