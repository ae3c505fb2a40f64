"""The implicit quantile critic: a network that reads a level and gives that part of the return.

An implicit quantile network (arXiv 1806.06923) with the squared error of the FQL-IQN baseline, so
that what it learns at a level are expectiles of the return. Their mean over levels is the expected
return only where the return is symmetric: of a skewed return this critic's value is biased.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.critics.common import check_target_samples
from floq.critics.network import NetworkCritic, NetworkCriticConfig
from floq.losses import expectile_loss, td_target_samples
from floq.networks import (
    embed_time,
    time_embedding_size,
)
from floq.settings import check_positive
from floq.types import Actions, Batch, Statistics


@dataclasses.dataclass(frozen=True)
class QuantileCriticConfig(NetworkCriticConfig):
    """Settings of a quantile critic; the defaults are those of FQL-IQN.

    Attributes:
        quantile_samples: Levels m whose values are averaged, and whose pairs make a loss.
        level_embedding: How a level τ enters: as the basis cos(πkτ), or as it is.
        frequencies: Size of the basis, k = 1 … `frequencies`.
    """

    quantile_samples: int = 8
    level_embedding: Literal["fourier", "identity"] = "fourier"
    frequencies: int = 64

    def __post_init__(self) -> None:
        """Refuses counts below 1."""
        super().__post_init__()
        check_positive(self, "quantile_samples", "frequencies")

    def create(
        self, statistics: Statistics, *, discount: float, key: Key[Array, ""]
    ) -> "QuantileCritic":
        """The critic; it needs no discount."""
        return QuantileCritic(statistics, self, key=key)


class QuantileCriticDraws(NamedTuple):
    """The random numbers of one quantile loss.

    Attributes:
        levels: Levels τ of the values that learn, uniform over [0, 1].
        next_levels: Levels τ′ of the target's samples.
    """

    levels: Float[Array, "batch samples"]
    next_levels: Float[Array, "batch samples"]


class QuantileCritic(NetworkCritic):
    """An ensemble of networks from (s, a, τ) to the return at level τ; a `floq.types.Critic`."""

    def __init__(
        self,
        statistics: Statistics,
        config: QuantileCriticConfig = QuantileCriticConfig(),
        *,
        key: Key[Array, ""],
    ):
        level_size = time_embedding_size(config.level_embedding, config.frequencies)
        super().__init__(statistics, config, noise_size=level_size, key=key)

    @property
    def noise_samples(self) -> int:
        """Levels m that a value averages."""
        return self.config.quantile_samples

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Levels τ, uniform over [0, 1]."""
        return jax.random.uniform(key, shape)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> QuantileCriticDraws:
        """All random numbers that `loss` and `td_loss` need for a batch."""
        levels_key, next_levels_key = jax.random.split(key)
        shape = (batch_size, self.noise_samples)
        return QuantileCriticDraws(
            self.sample_noise(shape, key=levels_key),
            self.sample_noise(shape, key=next_levels_key),
        )

    def inputs(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None,
    ) -> Float[Array, "batch samples inputs"]:
        """(s, a) beside each level, as it is embedded."""
        assert noise is not None, "a quantile critic is read at levels"
        pairs = super().inputs(observations, actions, noise)
        levels = embed_time(
            noise, kind=self.config.level_embedding, frequencies=self.config.frequencies
        )
        return jnp.concatenate(
            [jnp.broadcast_to(pairs, (*noise.shape, pairs.shape[-1])), levels], axis=-1
        )

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: QuantileCriticDraws,
    ) -> Float[Array, ""]:
        """Σ over levels τ of the mean over targets y of |τ − 1(y < q)| (y − q)².

        A mean over batch and members; each level meets each target (arXiv 1806.06923, section 2.3,
        with a square in place of the Huber error).
        """
        check_target_samples(targets)
        predicted = self.return_samples(observations, actions, draws.levels)
        errors = targets[:, None, :] - predicted[..., None]
        losses = expectile_loss(errors, draws.levels[..., None])
        return jnp.mean(jnp.sum(jnp.mean(losses, axis=-1), axis=-1))

    def td_loss(
        self,
        target_critic: "QuantileCritic",
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: QuantileCriticDraws,
    ) -> tuple[Float[Array, ""], Float[Array, "batch samples"]]:
        """The loss against r + γ · mask · Z̄(s′, a′) at every level τ′, and those targets."""
        next_samples = target_critic.aggregate(
            target_critic.return_samples(batch.next_observations, next_actions, draws.next_levels)
        )
        targets = td_target_samples(batch.rewards, batch.masks, next_samples, discount)
        return self.loss(batch.observations, batch.actions, targets, draws), targets
