"""FQL's policy: a behaviour flow, and a one-step policy distilled from it (arXiv 2502.02538).

The behaviour flow may be a diffusion instead, sampled without noise on the way: everything that
is built on it reads a noise and gives an action, whichever it is.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.diffusion import denoise, diffuse
from floq.flow_matching import integrate, interpolate, target_velocity
from floq.networks import (
    MLP,
    Encoder,
    NetworkConfig,
    create_encoder,
    encode,
    past_encoder,
)
from floq.settings import check_positive, normalise
from floq.types import Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class FlowPolicyConfig:
    """Settings of a flow policy.

    Attributes:
        flow_steps: Steps of the behaviour flow: Euler's, or a diffusion's.
        network: The network of the behaviour flow, and of the one-step policy if there is one.
        path: From noise to the data's actions. "straight" is a flow, whose network predicts the
            velocity, as published; "variance_preserving" is a diffusion, whose network predicts the
            noise, sampled by DDIM (arXiv 2010.02502). It makes IFQL IDQL (arXiv 2304.10573).
    """

    flow_steps: int = 10
    network: NetworkConfig = NetworkConfig()
    path: Literal["straight", "variance_preserving"] = "straight"

    def __post_init__(self) -> None:
        """Refuses a flow without steps."""
        normalise(self)
        check_positive(self, "flow_steps")


class BehaviourDraws(NamedTuple):
    """The random numbers of a behaviour flow's loss.

    Attributes:
        noise: Start of the path, standard normal.
        time: Time on that path, uniform over [0, 1].
    """

    noise: Float[Array, "batch act"]
    time: Float[Array, " batch"]


class FlowPolicyDraws(NamedTuple):
    """The random numbers of one policy loss.

    Attributes:
        behaviour: Those of the behaviour flow's loss.
        one_step_noise: Noise ε that both policies turn into an action, standard normal.
    """

    behaviour: BehaviourDraws
    one_step_noise: Float[Array, "batch act"]


class BehaviourFlow(eqx.Module):
    """A velocity field that carries noise to the data's actions: behaviour cloning by a flow.

    Or a diffusion that does, as the settings say. It is a `floq.types.Policy` by itself.
    """

    network: MLP
    encoder: Encoder | None
    action_dim: int = eqx.field(static=True)
    config: FlowPolicyConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: FlowPolicyConfig = FlowPolicyConfig(),
        *,
        key: Key[Array, ""],
    ):
        """Initialises the network for a dataset's shapes.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            key: Key of the initialisation.
        """
        self.encoder, seen = create_encoder(statistics, key=key)
        inputs = seen.observation_dim + seen.action_dim + 1
        self.network = MLP(inputs, statistics.action_dim, config.network, key=key)
        self.action_dim = statistics.action_dim
        self.config = config

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> BehaviourDraws:
        """All random numbers that the loss needs for a batch."""
        noise_key, time_key = jax.random.split(key)
        return BehaviourDraws(
            jax.random.normal(noise_key, (batch_size, self.action_dim)),
            jax.random.uniform(time_key, (batch_size,)),
        )

    def predict(
        self,
        observations: Real[Array, "*shape obs"],
        actions: Float[Array, "*shape act"],
        time: Float[Array, "*shape 1"],
    ) -> Float[Array, "*shape act"]:
        """The velocity at a point `actions` of the flow, or the noise in one of a diffusion."""
        states = encode(self.encoder, observations)
        return self.network(jnp.concatenate([states, actions, time], axis=-1))

    def actions(
        self, observations: Real[Array, "*shape obs"], noise: Float[Array, "*shape act"]
    ) -> Float[Array, "*shape act"]:
        """Actions in [−1, 1]: the clipped ends of the flow from `noise`."""
        flow, states = past_encoder(self, observations)

        def predict(
            time: Float[Array, ""], point: Float[Array, "*shape act"]
        ) -> Float[Array, "*shape act"]:
            times = jnp.broadcast_to(time, (*point.shape[:-1], 1))
            return flow.predict(states, point, times)

        steps = self.config.flow_steps
        if self.config.path == "straight":
            ends = integrate(predict, noise, steps=steps)
        else:
            ends = denoise(predict, noise, steps=steps, limit=1.0)
        return jnp.clip(ends, -1, 1)

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        draws: BehaviourDraws,
    ) -> Float[Array, ""]:
        """The squared error of the velocity on the data's actions, or of a diffusion's noise.

        The diffusion's is that of arXiv 2006.11239, equation 14.
        """
        noise, time = draws.noise, draws.time[:, None]
        if self.config.path == "straight":
            points, aim = interpolate(noise, actions, time), target_velocity(noise, actions)
        else:
            points, aim = diffuse(noise, actions, time), noise
        return jnp.mean(jnp.square(self.predict(observations, points, time) - aim))

    def action_noise(self, keys: Key[Array, " batch"]) -> Float[Array, "batch act"]:
        """Noise of an action for each key."""
        return jax.vmap(lambda key: jax.random.normal(key, (self.action_dim,)))(keys)

    def __call__(
        self, observations: Real[Array, "batch obs"], keys: Key[Array, " batch"], /
    ) -> Float[Array, "batch act"]:
        """Actions in [−1, 1], each drawn with the key of its own row."""
        return self.actions(observations, self.action_noise(keys))


class FlowPolicy(eqx.Module):
    """Two networks: a flow that clones the data's actions, and its one-step student."""

    behaviour: BehaviourFlow
    one_step: MLP
    encoder: Encoder | None

    def __init__(
        self,
        statistics: Statistics,
        config: FlowPolicyConfig = FlowPolicyConfig(),
        *,
        key: Key[Array, ""],
    ):
        """Initialises both networks for a dataset's shapes.

        Args:
            statistics: Sizes of observations and actions.
            config: Settings.
            key: Key of the initialisation.
        """
        behaviour_key, one_step_key = jax.random.split(key)
        self.encoder, seen = create_encoder(statistics, key=one_step_key)
        inputs = seen.observation_dim + seen.action_dim
        self.behaviour = BehaviourFlow(statistics, config, key=behaviour_key)
        self.one_step = MLP(inputs, statistics.action_dim, config.network, key=one_step_key)

    @property
    def action_dim(self) -> int:
        """Number of entries of an action."""
        return self.behaviour.action_dim

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> FlowPolicyDraws:
        """All random numbers that the losses need for a batch."""
        noise_key, time_key, one_step_key = jax.random.split(key, 3)
        shape = (batch_size, self.action_dim)
        behaviour = BehaviourDraws(
            jax.random.normal(noise_key, shape), jax.random.uniform(time_key, (batch_size,))
        )
        return FlowPolicyDraws(behaviour, jax.random.normal(one_step_key, shape))

    def _one_step_unclipped(
        self, observations: Real[Array, "*shape obs"], noise: Float[Array, "*shape act"]
    ) -> Float[Array, "*shape act"]:
        states = encode(self.encoder, observations)
        return self.one_step(jnp.concatenate([states, noise], axis=-1))

    def actions(
        self, observations: Real[Array, "*shape obs"], noise: Float[Array, "*shape act"]
    ) -> Float[Array, "*shape act"]:
        """Actions μ(s, ε) in [−1, 1] of the one-step policy."""
        return jnp.clip(self._one_step_unclipped(observations, noise), -1, 1)

    def distillation_loss(
        self, observations: Real[Array, "batch obs"], draws: FlowPolicyDraws
    ) -> Float[Array, ""]:
        """The squared distance ‖μ(s, ε) − flow(s, ε)‖² of the student to the (fixed) flow."""
        noise = draws.one_step_noise
        taught = jax.lax.stop_gradient(self.behaviour.actions(observations, noise))
        return jnp.mean(jnp.square(self._one_step_unclipped(observations, noise) - taught))

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        value_of: Callable[[Float[Array, "batch act"]], Float[Array, " batch"]],
        draws: FlowPolicyDraws,
        *,
        bc_coefficient: float,
        normalize_q: bool,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Behaviour cloning by flow matching, and a one-step student that climbs a critic.

        L = BC flow + α ‖μ(s, ε) − flow(s, ε)‖² − Q(s, μ(s, ε)) (arXiv 2502.02538, section 4).

        Args:
            observations: States.
            actions: Actions of the data.
            value_of: The (fixed) critic's value of an action at each state.
            draws: Random numbers, from `sample_draws`.
            bc_coefficient: α.
            normalize_q: Whether to divide the last term by the batch's mean |Q|.
        """
        bc_loss = self.behaviour.loss(observations, actions, draws.behaviour)
        distillation_loss = self.distillation_loss(observations, draws)
        values = value_of(self.actions(observations, draws.one_step_noise))
        value_loss = -jnp.mean(values)
        if normalize_q:
            value_loss /= jax.lax.stop_gradient(jnp.mean(jnp.abs(values)))
        metrics = {
            "policy/bc_flow_loss": bc_loss,
            "policy/distillation_loss": distillation_loss,
            "policy/value_loss": value_loss,
            "policy/value": jnp.mean(values),
        }
        return bc_loss + bc_coefficient * distillation_loss + value_loss, metrics
