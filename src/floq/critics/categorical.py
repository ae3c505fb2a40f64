"""The categorical critic: Q as the mean of a histogram that is trained by cross-entropy.

HL-Gauss of arXiv 2403.03950: a scalar target becomes the histogram of a normal distribution around
it.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.critics.common import check_target_samples, value_support
from floq.critics.network import NetworkCritic, NetworkCriticConfig
from floq.losses import cross_entropy
from floq.networks import (
    ValueSupport,
    embed_value,
)
from floq.settings import check_positive
from floq.types import NoDraws, Statistics


@dataclasses.dataclass(frozen=True)
class CategoricalCriticConfig(NetworkCriticConfig):
    """Settings of a categorical critic.

    Attributes:
        histogram_points: Support points of the histogram (one more than its bins).
        histogram_sigma: Standard deviation of a target's normal distribution, in bin widths.
    """

    histogram_points: int = 102
    histogram_sigma: float = 0.75

    def __post_init__(self) -> None:
        """Refuses an empty ensemble, and a histogram without bins or width."""
        super().__post_init__()
        if self.histogram_points < 3:
            raise ValueError(
                f"histogram_points is {self.histogram_points}: two bins need three points."
            )
        check_positive(self, "histogram_sigma")

    def create(
        self, statistics: Statistics, *, discount: float, key: Key[Array, ""]
    ) -> "CategoricalCritic":
        """The critic, whose histogram spans the returns that the discount allows."""
        return CategoricalCritic(statistics, self, discount=discount, key=key)


def _histogram_support(
    statistics: Statistics, config: CategoricalCriticConfig, discount: float
) -> ValueSupport:
    """All returns, and room on either side for the normal distributions around them.

    Without that room a target near an end would have its histogram's mean off to the inside, and
    bootstrapping would multiply the error by 1 / (1 − γ). An episode that ends at once has a
    return as small as a single reward.
    """
    low, high = value_support(statistics, discount)
    low = min(low, float(statistics.reward_min))
    high = max(high, float(statistics.reward_max))
    bins = config.histogram_points - 1
    room = min(3 * config.histogram_sigma, bins / 4)
    width = (high - low) / (bins - 2 * room)
    return ValueSupport(low - room * width, high + room * width)


class CategoricalCritic(NetworkCritic):
    """An ensemble of networks from (s, a) to a histogram of returns; a `floq.types.Critic`."""

    support: ValueSupport = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: CategoricalCriticConfig = CategoricalCriticConfig(),
        *,
        discount: float,
        key: Key[Array, ""],
    ):
        """Initialises the members for a dataset's shapes and range of rewards.

        Args:
            statistics: Sizes of observations and actions, and the range of the rewards.
            config: Settings.
            discount: γ, which turns the range of rewards into the range of returns.
            key: Key of the initialisation.

        Raises:
            ValueError: If the discount or the range of rewards is impossible.
        """
        self.support = _histogram_support(statistics, config, discount)
        super().__init__(statistics, config, outputs=config.histogram_points - 1, key=key)

    def samples_of(
        self, outputs: Float[Array, "ensemble batch samples_each outputs"]
    ) -> Float[Array, "ensemble batch samples_each"]:
        """The means of the histograms whose logits the outputs are."""
        edges = jnp.linspace(*self.support, self.config.histogram_points)
        return jax.nn.softmax(outputs) @ ((edges[1:] + edges[:-1]) / 2)

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: NoDraws = NoDraws(),
    ) -> Float[Array, ""]:
        """The cross-entropy to the targets' HL-Gauss histograms, a mean over batch and members."""
        check_target_samples(targets)
        aim = embed_value(
            targets,
            self.support,
            kind="histogram",
            points=self.config.histogram_points,
            sigma=self.config.histogram_sigma,
        )
        return jnp.mean(cross_entropy(self.outputs(observations, actions), aim))
