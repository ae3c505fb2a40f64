"""ReBRAC's policy: one action a state, with clipped noise in targets (arXiv 2305.09836)."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.networks import MLP, Encoded, NetworkConfig, observation_network
from floq.settings import check_not_negative, normalise
from floq.types import Statistics


@dataclasses.dataclass(frozen=True)
class DeterministicPolicyConfig:
    """Settings of a deterministic policy; the defaults are those of the published runs.

    Attributes:
        network: The network from states to actions.
        squash: Whether a tanh keeps actions within [−1, 1]; otherwise they are clipped, but not
            in losses, where clipping would stop the gradient.
        head_scale: Variance of the last layer's initial kernel, relative to that of the others: a
            small one makes the first actions differ little from 0.
        target_noise: Standard deviation of the noise around next actions.
        target_noise_limit: Largest absolute value of that noise.
    """

    network: NetworkConfig = NetworkConfig()
    squash: bool = True
    head_scale: float = 0.01
    target_noise: float = 0.2
    target_noise_limit: float = 0.5

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        check_not_negative(self, "head_scale", "target_noise", "target_noise_limit")


class DeterministicPolicy(eqx.Module):
    """A network from a state to the action μ(s); a `floq.types.Policy` by itself."""

    network: MLP | Encoded
    action_dim: int = eqx.field(static=True)
    config: DeterministicPolicyConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: DeterministicPolicyConfig = DeterministicPolicyConfig(),
        *,
        key: Key[Array, ""],
    ):
        """Initialises the network for a dataset's shapes.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            key: Key of the initialisation.
        """
        network = observation_network(statistics, statistics.action_dim, config.network, key=key)
        self.network = eqx.tree_at(
            lambda mlp: mlp.head.kernel,
            network,
            replace_fn=lambda kernel: config.head_scale**0.5 * kernel,
        )
        self.action_dim = statistics.action_dim
        self.config = config

    def means(self, observations: Real[Array, "*shape obs"]) -> Float[Array, "*shape act"]:
        """The actions μ(s) that losses read: without `squash`, they may lie outside [−1, 1]."""
        actions = self.network(observations)
        return jnp.tanh(actions) if self.config.squash else actions

    def actions(self, observations: Real[Array, "*shape obs"]) -> Float[Array, "*shape act"]:
        """Actions μ(s) in [−1, 1]."""
        return jnp.clip(self.means(observations), -1, 1)

    def __call__(
        self, observations: Real[Array, "batch obs"], keys: Key[Array, " batch"], /
    ) -> Float[Array, "batch act"]:
        """Actions μ(s) in [−1, 1], whatever the keys."""
        return self.actions(observations)

    def noisy_actions(
        self, observations: Real[Array, "*shape obs"], noise: Float[Array, "*shape act"]
    ) -> Float[Array, "*shape act"]:
        """Actions clip(μ(s) + clip(σ ε, −c, c), −1, 1) (arXiv 1802.09477, section 5.3).

        Args:
            observations: States.
            noise: Standard normal noise ε.
        """
        limit = self.config.target_noise_limit
        moved = jnp.clip(self.config.target_noise * noise, -limit, limit)
        return jnp.clip(self.means(observations) + moved, -1, 1)
