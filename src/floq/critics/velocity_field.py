"""The velocity field of a flow critic: one network, read at every point of the flow."""

import dataclasses
from typing import Literal

import equinox as eqx
from jaxtyping import Array, Float, Key, Real

from floq.networks import (
    MLP,
    NetworkConfig,
    TimeEmbedding,
    ValueEmbedding,
    ValueSupport,
    embed_time,
    embed_value,
    time_embedding_size,
    value_embedding_size,
)
from floq.settings import check_positive, normalise
from floq.types import Actions, Statistics


@dataclasses.dataclass(frozen=True)
class VelocityFieldConfig:
    """Settings of a velocity field; the defaults are the paper's.

    Attributes:
        network: The velocity network.
        value_embedding: How z enters it.
        histogram_points: Support points of the histogram (one more than its bins).
        histogram_sigma: Width of the histogram's normal distribution, in bins.
        time_embedding: How t enters it. "cosine" is what the published runs do, "fourier" what
            the paper's text says.
        fourier_frequencies: Size of the Fourier basis.
        prediction: What the network outputs: the "velocity", or the "endpoint" of the path, from
            which the velocity follows as (endpoint − z) / (1 − t) (arXiv 2603.04333's ablation).
    """

    network: NetworkConfig = NetworkConfig(layer_norm=True)
    value_embedding: ValueEmbedding = "histogram"
    histogram_points: int = 51
    histogram_sigma: float = 16.0
    time_embedding: TimeEmbedding = "cosine"
    fourier_frequencies: int = 64
    prediction: Literal["velocity", "endpoint"] = "velocity"

    def __post_init__(self) -> None:
        """Refuses a histogram without bins or width, and a basis without entries."""
        normalise(self)
        check_positive(self, "fourier_frequencies", "histogram_sigma")
        if self.histogram_points < 3:
            raise ValueError(
                f"histogram_points is {self.histogram_points}: two bins need three points; the "
                "paper uses 51."
            )


class VelocityField(eqx.Module):
    """One member: v(t, z | s, a) as a network over (s, a, z's embedding, t's embedding)."""

    network: MLP
    observation_dim: int = eqx.field(static=True)
    condition_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)
    support: ValueSupport = eqx.field(static=True)
    config: VelocityFieldConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        support: ValueSupport,
        config: VelocityFieldConfig,
        *,
        key: Key[Array, ""],
    ):
        self.observation_dim = statistics.observation_dim
        self.condition_size = statistics.observation_dim + statistics.action_dim
        self.value_size = value_embedding_size(config.value_embedding, config.histogram_points)
        self.support = support
        self.config = config
        time_size = time_embedding_size(config.time_embedding, config.fourier_frequencies)
        inputs = self.condition_size + self.value_size + time_size
        self.network = MLP(inputs, 1, config.network, key=key)

    def condition(
        self, observations: Real[Array, "batch obs"], actions: Actions
    ) -> Float[Array, "batch #samples width"]:
        """The share of the first layer that (s, a) has: it stays the same along the flow."""
        first = self.network.first
        of_observations = first.product(observations, slice(self.observation_dim))
        of_actions = first.product(actions, slice(self.observation_dim, self.condition_size))
        if actions.ndim == 2:
            of_actions = of_actions[:, None]
        return of_observations[:, None] + of_actions + first.bias

    def __call__(
        self,
        condition: Float[Array, "*#shape width"],
        value: Float[Array, "*shape"],
        time: Float[Array, "*#shape"],
    ) -> Float[Array, "*shape"]:
        """The velocity at `value` and `time`, given what `condition` made of (s, a)."""
        predicted = self.predict(condition, value, time)
        if self.config.prediction == "endpoint":
            return (predicted - value) / (1 - time)
        return predicted

    def predict(
        self,
        condition: Float[Array, "*#shape width"],
        value: Float[Array, "*shape"],
        time: Float[Array, "*#shape"],
    ) -> Float[Array, "*shape"]:
        """What the network outputs: the velocity, or the end point of the path."""
        return self.network.head(self.features(condition, value, time))[..., 0]

    def features(
        self,
        condition: Float[Array, "*#shape width"],
        value: Float[Array, "*shape"],
        time: Float[Array, "*#shape"],
    ) -> Float[Array, "*shape features"]:
        """The last hidden layer at `value` and `time`."""
        config = self.config
        first, time_start = self.network.first, self.condition_size + self.value_size
        embedded_value = embed_value(
            value,
            self.support,
            kind=config.value_embedding,
            points=config.histogram_points,
            sigma=config.histogram_sigma,
        )
        embedded_time = embed_time(
            time, kind=config.time_embedding, frequencies=config.fourier_frequencies
        )
        hidden = (
            condition
            + first.product(embedded_value, slice(self.condition_size, time_start))
            + first.product(embedded_time, slice(time_start, None))
        )
        return self.network.features(hidden)
