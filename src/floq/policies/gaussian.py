"""A Gaussian policy around the mean of a network, of unit or of learned variance."""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.networks import MLP, Encoded, NetworkConfig, observation_network
from floq.settings import normalise
from floq.types import NoDraws, Statistics

# Between these, densities and their gradients stay far from overflow.
_LOG_DEVIATION_RANGE = (-5.0, 2.0)


@dataclasses.dataclass(frozen=True)
class GaussianPolicyConfig:
    """Settings of a Gaussian policy; the defaults are those of the published runs.

    Attributes:
        network: The network from states to means.
        learned_deviation: Whether each entry of the action has a standard deviation that is
            learned, the same in all states; otherwise it is 1, and the likelihood is a squared
            distance.
    """

    network: NetworkConfig = NetworkConfig()
    learned_deviation: bool = False

    def __post_init__(self) -> None:
        """Refuses settings of another type."""
        normalise(self)


class GaussianPolicy(eqx.Module):
    """The distribution N(μ(s), diag σ²) of actions; a `floq.types.Policy` by its means."""

    network: MLP | Encoded
    log_deviations: Float[Array, " act"] | None
    config: GaussianPolicyConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: GaussianPolicyConfig = GaussianPolicyConfig(),
        *,
        key: Key[Array, ""],
    ):
        """Initialises the network for a dataset's shapes, and every deviation at 1.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            key: Key of the initialisation.
        """
        self.network = observation_network(
            statistics, statistics.action_dim, config.network, key=key
        )
        learned = config.learned_deviation
        self.log_deviations = jnp.zeros(statistics.action_dim) if learned else None
        self.config = config

    def deviations(self, size: int) -> Float[Array, " act"]:
        """The standard deviation σ of each of the action's `size` entries."""
        if self.log_deviations is None:
            return jnp.ones(size)
        return jnp.exp(jnp.clip(self.log_deviations, *_LOG_DEVIATION_RANGE))

    def log_probabilities(
        self, observations: Real[Array, "*shape obs"], actions: Float[Array, "*shape act"]
    ) -> Float[Array, "*shape"]:
        """The log density log N(a | μ(s), diag σ²), a sum over the entries of an action."""
        deviations = self.deviations(actions.shape[-1])
        distances = (actions - self.network(observations)) / deviations
        log_densities = -jnp.square(distances) / 2 - jnp.log(deviations) - math.log(2 * math.pi) / 2
        return jnp.sum(log_densities, axis=-1)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> NoDraws:
        """No random numbers."""
        return NoDraws()

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        draws: NoDraws = NoDraws(),
    ) -> Float[Array, ""]:
        """Behaviour cloning: −log π(a | s) of the data's actions."""
        return -jnp.mean(self.log_probabilities(observations, actions))

    def actions(self, observations: Real[Array, "*shape obs"]) -> Float[Array, "*shape act"]:
        """The likeliest actions in [−1, 1]: the means, by which the published runs are judged."""
        return jnp.clip(self.network(observations), -1, 1)

    def __call__(
        self, observations: Real[Array, "batch obs"], keys: Key[Array, " batch"], /
    ) -> Float[Array, "batch act"]:
        """The likeliest actions in [−1, 1], whatever the keys."""
        return self.actions(observations)
