"""The plain critic: a network that reads (s, a) and gives Q(s, a) at once."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.critics.common import check_target_samples
from floq.critics.network import NetworkCritic, NetworkCriticConfig
from floq.types import Actions, NoDraws, Statistics


@dataclasses.dataclass(frozen=True)
class ScalarCriticConfig(NetworkCriticConfig):
    """Settings of a scalar critic: those of its networks."""

    def create(
        self, statistics: Statistics, *, discount: float, key: Key[Array, ""]
    ) -> "ScalarCritic":
        """The critic; it needs no discount."""
        return ScalarCritic(statistics, self, key=key)


class ScalarCritic(NetworkCritic):
    """An ensemble of networks from (s, a) to a Q-value; a `floq.types.Critic` without noise."""

    def __init__(
        self,
        statistics: Statistics,
        config: ScalarCriticConfig = ScalarCriticConfig(),
        *,
        key: Key[Array, ""],
    ):
        super().__init__(statistics, config, key=key)

    def member_values(
        self, observations: Real[Array, "batch obs"], actions: Actions
    ) -> Float[Array, "ensemble batch actions_each"]:
        """Every member's Q(s, a), for each action of a state."""
        return self.samples_of(self.outputs(observations, actions))

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: NoDraws = NoDraws(),
    ) -> Float[Array, ""]:
        """The squared error to `targets`, a mean over samples, batch and members."""
        check_target_samples(targets)
        return jnp.mean(jnp.square(self.member_values(observations, actions) - targets))
