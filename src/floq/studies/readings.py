"""Ways to read the values of a trained critic, and other numbers to follow, as settings."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from floq.critics import FlowCritic
from floq.flow_matching import integrate
from floq.networks import map_members
from floq.studies.value_program import Reader, read_values


@dataclasses.dataclass(frozen=True)
class ReadValues:
    """The critic's own values."""

    name: str = "values"
    place: int | float | None = None

    def __call__(self, reader: Reader) -> Float[Array, " batch"]:
        """The values of the pairs."""
        return read_values(reader)


@dataclasses.dataclass(frozen=True)
class ReadAtSteps:
    """A flow's values at a number of integration steps that need not be the trained one.

    Attributes:
        steps: The number K.
    """

    steps: int

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"read at K={self.steps}"

    @property
    def place(self) -> int | float:
        """Its place on an axis."""
        return self.steps

    def __call__(self, reader: Reader) -> Float[Array, " batch"]:
        """The values of the pairs."""
        return reader.critic.values(
            reader.observations, reader.actions, reader.noise, integration_steps=self.steps
        )


@dataclasses.dataclass(frozen=True)
class ReadStale:
    """Values for which a share of the work is done by a stale copy (arXiv 2603.04333).

    The first steps of a flow's integration follow the stale field. A monolith has no steps: its
    analogue is the weighted mean of its value and its stale copy's.

    Attributes:
        share: Share of the integration time, or weight, of the stale copy.
    """

    share: float

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.share:.0%} stale"

    @property
    def place(self) -> int | float:
        """Its place on an axis."""
        return self.share

    def __call__(self, reader: Reader) -> Float[Array, " batch"]:
        """The values of the pairs."""
        critic, stale = reader.critic, reader.stale
        if not isinstance(critic, FlowCritic):
            return (1 - self.share) * read_values(reader) + self.share * read_values(
                reader._replace(critic=stale)
            )

        def carry(members: tuple) -> Float[Array, "batch samples"]:
            now, then = members
            condition = now.condition(reader.observations, reader.actions)
            stale_condition = then.condition(reader.observations, reader.actions)
            return integrate(
                lambda time, value: jnp.where(
                    # Half a step less, so that rounding cannot move the border.
                    time < self.share - 0.5 / critic.config.integration_steps,
                    then(stale_condition, value, time),
                    now(condition, value, time),
                ),
                reader.noise,
                steps=critic.config.integration_steps,
                method=critic.config.method,
            )

        samples = critic.aggregate(map_members(carry, (critic.members, stale.members)))
        return jnp.mean(samples, axis=-1)


@dataclasses.dataclass(frozen=True)
class FeatureNorm:
    """Mean norm of the last hidden layer's features; a flow's at t = 0, at its own noise."""

    name: str = "feature norm"

    def __call__(self, reader: Reader) -> Float[Array, ""]:
        """The mean over pairs, samples and members."""
        features = reader.critic.features(reader.observations, reader.actions, reader.noise)
        return jnp.mean(jnp.linalg.norm(features, axis=-1))


@dataclasses.dataclass(frozen=True)
class Spread:
    """How far apart each member of a flow carries the starts of a pair, as a share of theirs."""

    name: str = "spread"

    def __call__(self, reader: Reader) -> Float[Array, ""]:
        """The deviation of the ends over that of the starts; 0 of a critic that reads no noise."""
        critic = reader.critic
        if not isinstance(critic, FlowCritic):
            return jnp.zeros(())
        ends = critic.return_samples(reader.observations, reader.actions, reader.noise)
        widths = [jnp.mean(jnp.var(points, axis=-1)) for points in (ends, reader.noise)]
        return jnp.sqrt(widths[0] / widths[1])
