"""The plain critic: a network that reads (s, a) and gives Q(s, a) at once."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.networks import MLP, NetworkConfig, create_members, map_members
from floq.types import Statistics


@dataclasses.dataclass(frozen=True)
class ScalarCriticConfig:
    """Settings of a scalar critic.

    Attributes:
        members: Networks in the ensemble.
        aggregation: How the members' values become one.
        network: The network of a member.
    """

    members: int = 2
    aggregation: Literal["mean", "min"] = "mean"
    network: NetworkConfig = NetworkConfig(layer_norm=True)

    def __post_init__(self) -> None:
        """Refuses an empty ensemble."""
        if self.members < 1:
            raise ValueError(f"members is {self.members}: give a whole number, 1 or more.")


class ScalarCritic(eqx.Module):
    """An ensemble of networks from (s, a) to a Q-value."""

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

    def member_values(
        self, observations: Float[Array, "batch obs"], actions: Float[Array, "batch act"]
    ) -> Float[Array, "ensemble batch"]:
        """Every member's Q(s, a)."""
        inputs = jnp.concatenate([observations, actions], axis=-1)
        return map_members(lambda member: member(inputs)[..., 0], self.members)

    def values(
        self, observations: Float[Array, "batch obs"], actions: Float[Array, "batch act"]
    ) -> Float[Array, " batch"]:
        """Q(s, a), aggregated over the members."""
        reduce = jnp.min if self.config.aggregation == "min" else jnp.mean
        return reduce(self.member_values(observations, actions), axis=0)

    def loss(
        self,
        observations: Float[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, " batch"],
    ) -> Float[Array, ""]:
        """The squared error to `targets`, a mean over batch and members."""
        return jnp.mean(jnp.square(self.member_values(observations, actions) - targets))
