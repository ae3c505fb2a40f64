"""What critics that are one network from (s, a) to a return have in common."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.critics.common import CriticConfig, check_ensemble, pair_inputs
from floq.losses import td_target_samples
from floq.networks import (
    MLP,
    Aggregation,
    Encoder,
    NetworkConfig,
    aggregate,
    create_encoder,
    create_members,
    encode,
    map_members,
)
from floq.settings import normalise
from floq.types import Actions, Batch, NoDraws, Statistics


@dataclasses.dataclass(frozen=True)
class NetworkCriticConfig(CriticConfig):
    """Settings of every critic that is one network.

    Attributes:
        members: Networks in the ensemble.
        aggregation: How the members' values become one.
        pessimism: ρ: a mean of the members counts as mean − ρ · standard deviation. 0 is the
            published form; arXiv 2601.14234 has .5 with 10 members.
        network: The network of a member.
    """

    members: int = 2
    aggregation: Aggregation = "mean"
    pessimism: float = 0.0
    network: NetworkConfig = NetworkConfig(layer_norm=True)

    def __post_init__(self) -> None:
        """Refuses an ensemble that says nothing."""
        normalise(self)
        check_ensemble(self)


class NetworkCritic(eqx.Module):
    """An ensemble of networks whose outputs say what is known of the return of (s, a).

    A subclass says in `samples_of` what its outputs mean, and has a `loss`. As it stands it reads
    no noise, and learns from one target a state.
    """

    members: MLP
    encoder: Encoder | None
    config: Any = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: NetworkCriticConfig,
        *,
        noise_size: int = 0,
        outputs: int = 1,
        key: Key[Array, ""],
    ):
        """Initialises the members for a dataset's shapes.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            noise_size: Entries of what a noise number becomes as an input.
            outputs: Entries of a member's output.
            key: Key of the initialisation.
        """
        self.config = config
        self.encoder, seen = create_encoder(statistics, key=key)
        inputs = seen.observation_dim + seen.action_dim + noise_size
        self.members = create_members(
            lambda member_key: MLP(inputs, outputs, config.network, key=member_key),
            config.members,
            key=key,
        )

    @property
    def noise_samples(self) -> int:
        """One: without noise a single value says all that the critic knows."""
        return 1

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Zeros, since nothing reads them."""
        return jnp.zeros(shape)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> Any:
        """No random numbers."""
        return NoDraws()

    def inputs(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None,
    ) -> Float[Array, "batch samples_each inputs"]:
        """What a member reads of states, or their features, once for each action of a state."""
        return pair_inputs(observations, actions)

    def samples_of(
        self, outputs: Float[Array, "ensemble batch samples_each outputs"]
    ) -> Float[Array, "ensemble batch samples_each"]:
        """The samples of the return that the members' outputs stand for."""
        return outputs[..., 0]

    def outputs(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None = None,
    ) -> Float[Array, "ensemble batch samples_each outputs"]:
        """Every member's outputs."""
        inputs = self.inputs(encode(self.encoder, observations), actions, noise)
        return map_members(lambda member: member(inputs), self.members)

    def features(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples_each features"]:
        """Every member's last hidden layer."""
        inputs = self.inputs(encode(self.encoder, observations), actions, noise)
        return map_members(lambda member: member.features(member.first(inputs)), self.members)

    def aggregate(self, values: Float[Array, "ensemble *shape"]) -> Float[Array, "*shape"]:
        """One value from those of the members, as the settings say."""
        return aggregate(values, self.config.aggregation, self.config.pessimism)

    def return_samples(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples"]:
        """Every member's samples; without noise the same for all that have the same action."""
        samples = self.samples_of(self.outputs(observations, actions, noise))
        return jnp.broadcast_to(samples, (len(samples), *noise.shape))

    def values(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"] | None = None,
    ) -> Float[Array, " batch"]:
        """Q(s, a): aggregated over the members, then the mean over samples or a state's actions."""
        samples = self.samples_of(self.outputs(observations, actions, noise))
        return jnp.mean(self.aggregate(samples), axis=-1)

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: Any,
    ) -> Float[Array, ""]:
        """The loss against given samples of the target, of which there may be one."""
        raise NotImplementedError

    def td_loss(
        self,
        target_critic: Any,
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: Any,
    ) -> tuple[Float[Array, ""], Float[Array, "batch target_samples"]]:
        """The loss against r + γ · mask · Q̄(s′, a′), and that target."""
        next_values = target_critic.values(batch.next_observations, next_actions)
        targets = td_target_samples(batch.rewards, batch.masks, next_values[:, None], discount)
        return self.loss(batch.observations, batch.actions, targets, draws), targets
