"""The categorical critic: Q as the mean of a histogram that is trained by cross-entropy.

HL-Gauss of arXiv 2403.03950: a scalar target becomes the histogram of a normal distribution around
it.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.critics.common import check_target_samples, pair_inputs, value_support
from floq.critics.scalar import ScalarCriticDraws
from floq.losses import cross_entropy, td_target_samples
from floq.networks import (
    MLP,
    Aggregation,
    NetworkConfig,
    ValueSupport,
    aggregate,
    create_members,
    embed_value,
    map_members,
)
from floq.settings import normalise
from floq.types import Actions, Batch, Statistics


@dataclasses.dataclass(frozen=True)
class CategoricalCriticConfig:
    """Settings of a categorical critic.

    Attributes:
        members: Networks in the ensemble.
        aggregation: How the members' values become one.
        network: The network of a member.
        histogram_points: Support points of the histogram (one more than its bins).
        histogram_sigma: Standard deviation of a target's normal distribution, in bin widths.
    """

    members: int = 2
    aggregation: Aggregation = "mean"
    network: NetworkConfig = NetworkConfig(layer_norm=True)
    histogram_points: int = 102
    histogram_sigma: float = 0.75

    def __post_init__(self) -> None:
        """Refuses an empty ensemble, and a histogram without bins or width."""
        normalise(self)
        if self.members < 1:
            raise ValueError(f"members is {self.members}: give a whole number, 1 or more.")
        if self.histogram_points < 3:
            raise ValueError(
                f"histogram_points is {self.histogram_points}: two bins need three points."
            )
        if not self.histogram_sigma > 0:
            raise ValueError(f"histogram_sigma is {self.histogram_sigma}: give a number above 0.")


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


class CategoricalCritic(eqx.Module):
    """An ensemble of networks from (s, a) to a histogram of returns; a `floq.types.Critic`."""

    members: MLP
    support: ValueSupport = eqx.field(static=True)
    config: CategoricalCriticConfig = eqx.field(static=True)

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
        self.config = config
        inputs = statistics.observation_dim + statistics.action_dim
        self.members = create_members(
            lambda member_key: MLP(
                inputs, config.histogram_points - 1, config.network, key=member_key
            ),
            config.members,
            key=key,
        )

    @property
    def noise_samples(self) -> int:
        """One: a value is the mean of the whole histogram."""
        return 1

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Zeros, since nothing reads them."""
        return jnp.zeros(shape)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> ScalarCriticDraws:
        """No random numbers."""
        return ScalarCriticDraws()

    def _logits(
        self, observations: Float[Array, "batch obs"], actions: Actions
    ) -> Float[Array, "ensemble batch actions_each bins"]:
        inputs = pair_inputs(observations, actions)
        return map_members(lambda member: member(inputs), self.members)

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
        """The mean of every member's histogram, the same for each sample of the same action."""
        edges = jnp.linspace(*self.support, self.config.histogram_points)
        centres = (edges[1:] + edges[:-1]) / 2
        values = jax.nn.softmax(self._logits(observations, actions)) @ centres
        return jnp.broadcast_to(values, (len(values), *noise.shape))

    def values(
        self,
        observations: Float[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, " batch"]:
        """Q(s, a), aggregated over the members; the mean over actions where a state has several."""
        samples = self.return_samples(observations, actions, noise)
        return jnp.mean(aggregate(samples, self.config.aggregation), axis=-1)

    def loss(
        self,
        observations: Float[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: ScalarCriticDraws = ScalarCriticDraws(),
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
        return jnp.mean(cross_entropy(self._logits(observations, actions), aim))

    def td_loss(
        self,
        target_critic: "CategoricalCritic",
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: ScalarCriticDraws,
    ) -> tuple[Float[Array, ""], Float[Array, "batch 1"]]:
        """The cross-entropy to r + γ · mask · Q̄(s′, a′), and that target."""
        next_values = target_critic.values(
            batch.next_observations, next_actions, jnp.zeros(next_actions.shape[:2])
        )
        targets = td_target_samples(batch.rewards, batch.masks, next_values[:, None], discount)
        return self.loss(batch.observations, batch.actions, targets), targets
