"""The flow critic: a Q-function that is a velocity field (arXiv 2509.06863)."""

import dataclasses
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Real

from floq.critics.common import (
    CriticConfig,
    Sampling,
    check_ensemble,
    check_target_samples,
    sample_interval,
    value_support,
)
from floq.critics.velocity_field import VelocityField, VelocityFieldConfig
from floq.flow_matching import Method, integrate, interpolate, target_velocity, trajectory
from floq.losses import td_target_samples
from floq.networks import (
    Aggregation,
    Encoder,
    aggregate,
    create_encoder,
    create_members,
    encode,
    map_members,
)
from floq.settings import check_positive
from floq.types import Actions, Batch, Statistics


@dataclasses.dataclass(frozen=True)
class FlowCriticConfig(VelocityFieldConfig, CriticConfig):
    """Settings of a flow critic; the defaults are the paper's.

    Attributes:
        integration_steps: Steps K from noise to value: the critic's compute.
        noise_samples: Noise samples m whose ends are averaged into one value.
        noise_coverage: Width κ of the noise interval, as a share of the range of returns.
        members: Velocity fields in the ensemble.
        aggregation: How the members' values become one.
        pessimism: ρ: a mean of the members counts as mean − ρ · standard deviation, start by
            start. 0 is the paper's form; arXiv 2601.14234 has .5 with 10 members.
        method: The integration rule; midpoint reads the field twice a step, RK4 four times.
        supervision: "path" trains the field at every t, "start" at t = 0 only (the paper's
            ablation).
        backup: "expected" averages the next state's samples into one target, as published;
            "distributional" gives each sample a target of its own (the paper's ablation).
        coupling: "shared" starts the target's flow from the same noise as the sample that it is
            the target of (arXiv 2605.08253); it needs the distributional backup.
        sampling: "independent" draws each start and time by itself, as published; "strata" one of
            a state's m from each of m equal parts of their interval, which is as unbiased and
            varies less.
        time_power: p of the times u^p, for u uniform over [0, 1]: above 1 more of them are early,
            where the point on the path says little of the target. 1 is the paper's.
        control_variate: λ of shared noise: the share of the next state's sampled velocity that is
            replaced by the target field's own, which is less noisy but biased. 0 is unbiased.
    """

    integration_steps: int = 8
    noise_samples: int = 8
    noise_coverage: float = 0.1
    members: int = 2
    aggregation: Aggregation = "mean"
    pessimism: float = 0.0
    method: Method = "euler"
    supervision: Literal["path", "start"] = "path"
    backup: Literal["expected", "distributional"] = "expected"
    coupling: Literal["independent", "shared"] = "independent"
    sampling: Sampling = "independent"
    time_power: float = 1.0
    control_variate: float = 0.0

    def __post_init__(self) -> None:
        """Refuses settings that no flow can have."""
        super().__post_init__()
        check_ensemble(self)
        check_positive(self, "integration_steps", "noise_samples", "noise_coverage", "time_power")
        if self.prediction == "endpoint" and self.method == "rk4":
            raise ValueError(
                'prediction is "endpoint" and method is "rk4", which reads the field at t = 1, '
                'where the velocity towards an end point is 0/0: use "euler" or "midpoint".'
            )
        if self.coupling == "shared" and self.backup != "distributional":
            raise ValueError(
                'coupling is "shared" and backup is "expected", which averages the noise away: set '
                'backup to "distributional", or coupling to "independent".'
            )
        if not 0 <= self.control_variate <= 1:
            raise ValueError(
                f"control_variate is {self.control_variate}: give a number from 0 to 1."
            )
        if self.control_variate and self.coupling != "shared":
            raise ValueError(
                f'control_variate is {self.control_variate} and coupling is "independent": the '
                'control variate is that of shared noise, so set coupling to "shared".'
            )

    def create(
        self, statistics: Statistics, *, discount: float, key: Key[Array, ""]
    ) -> "FlowCritic":
        """The critic, whose noise interval follows from rewards and discount."""
        return FlowCritic(statistics, self, discount=discount, key=key)


class FlowCriticDraws(NamedTuple):
    """The random numbers of one flow-matching loss.

    Attributes:
        initial_noise: Start z₀ of each sample, uniform over the noise interval.
        time: Time t of each sample in [0, 1], uniform or as `time_power` says.
        next_initial_noise: Start z₀′ of each sample of the target's flow.
    """

    initial_noise: Float[Array, "batch samples"]
    time: Float[Array, "batch samples"]
    next_initial_noise: Float[Array, "batch samples"]


class FlowCritic(eqx.Module):
    """An ensemble of velocity fields that carry noise to Q-values.

    A `floq.types.Critic`, usable alone: draw random numbers with `sample_draws`, train on `td_loss`
    against a slow copy that `floq.losses.ema_update` keeps, read values with `values`. With targets
    of another kind, train on `loss`. Every array of the module is a parameter.
    """

    members: VelocityField
    encoder: Encoder | None
    noise_interval: tuple[float, float] = eqx.field(static=True)
    config: FlowCriticConfig = eqx.field(static=True)

    def __init__(
        self,
        statistics: Statistics,
        config: FlowCriticConfig = FlowCriticConfig(),
        *,
        discount: float,
        key: Key[Array, ""],
    ):
        """Initialises the fields for a dataset's shapes and range of rewards.

        The noise interval is [κ r_min, κ r_max] / (1 − γ): with r_max = 0 this is the paper's
        rule, an interval of width κ (Q_max − Q_min) that ends at Q_max.

        Args:
            statistics: Sizes of observations and actions, and the range of the rewards.
            config: Settings.
            discount: γ, which turns the range of rewards into the range of returns.
            key: Key of the initialisation.

        Raises:
            ValueError: If the discount or the range of rewards leaves no room for a flow.
        """
        support = value_support(statistics, discount)
        low, high = float(statistics.reward_min), float(statistics.reward_max)
        if low == high:
            raise ValueError(
                f"All rewards are {low:.6g}, so the noise interval is a single point and a flow "
                "critic has nothing to carry. Check the rewards, or give the least and the "
                "greatest reward that a step can have: reward_range=(low, high), or "
                "--reward-range LOW HIGH."
            )
        horizon = 1 / (1 - discount)
        self.config = config
        self.noise_interval = (
            config.noise_coverage * low * horizon,
            config.noise_coverage * high * horizon,
        )
        self.encoder, seen = create_encoder(statistics, key=key)
        self.members = create_members(
            lambda member_key: VelocityField(seen, support, config, key=member_key),
            config.members,
            key=key,
        )

    @property
    def noise_samples(self) -> int:
        """Samples m that a value averages."""
        return self.config.noise_samples

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Starts z₀ of the flow, uniform over the noise interval, as `sampling` says."""
        return sample_interval(shape, *self.noise_interval, self.config.sampling, key=key)

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> FlowCriticDraws:
        """All random numbers that `loss` and `td_loss` need for a batch."""
        noise_key, time_key, next_noise_key = jax.random.split(key, 3)
        shape = (batch_size, self.config.noise_samples)
        if self.config.supervision == "start":
            time = jnp.zeros(shape)
        else:
            time = sample_interval(shape, 0.0, 1.0, self.config.sampling, key=time_key)
            if self.config.time_power != 1:
                time = time**self.config.time_power
        noise = self.sample_noise(shape, key=noise_key)
        is_shared = self.config.coupling == "shared"
        next_noise = noise if is_shared else self.sample_noise(shape, key=next_noise_key)
        return FlowCriticDraws(noise, time, next_noise)

    def return_samples(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        initial_noise: Float[Array, "batch samples"],
        *,
        integration_steps: int | Int[Array, ""] | None = None,
    ) -> Float[Array, "ensemble batch samples"]:
        """The ends ψ(1, z₀ | s, a) of the flow, one for each start and member.

        Args:
            observations: States.
            actions: One action a state, or one a sample.
            initial_noise: Starts z₀, from `sample_noise`.
            integration_steps: Steps K, if not those of the config.
        """
        steps = self.config.integration_steps if integration_steps is None else integration_steps
        return self._carried(integrate, observations, actions, initial_noise, steps)

    def return_trajectories(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        initial_noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble points batch samples"]:
        """What `return_samples` passes on its way: K + 1 points from noise to value."""
        steps = self.config.integration_steps
        return self._carried(trajectory, observations, actions, initial_noise, steps)

    def _carried(
        self, carry: Any, observations: Array, actions: Array, noise: Array, steps: int | Array
    ) -> Array:
        """What `integrate` or `trajectory` makes of the noise, along the field of every member."""
        states = encode(self.encoder, observations)

        def carried(member: VelocityField) -> Array:
            condition = member.condition(states, actions)
            field = lambda time, value: member(condition, value, time)
            return carry(field, noise, steps=steps, method=self.config.method)

        return map_members(carried, self.members)

    def aggregate(
        self, samples: Float[Array, "ensemble batch samples"]
    ) -> Float[Array, "batch samples"]:
        """One value a sample from those of the members, as the settings say."""
        return aggregate(samples, self.config.aggregation, self.config.pessimism)

    def values(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        initial_noise: Float[Array, "batch samples"],
        *,
        integration_steps: int | None = None,
    ) -> Float[Array, " batch"]:
        """Q(s, a): the mean over the noise samples of the aggregated ends of the flow.

        With one action a sample this is the expected value over the policy's actions: what the
        TD target backs up (arXiv 2509.06863, section 4).
        """
        samples = self.return_samples(
            observations, actions, initial_noise, integration_steps=integration_steps
        )
        return jnp.mean(self.aggregate(samples), axis=-1)

    def features(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples features"]:
        """Every member's last hidden layer where the flow starts: at t = 0, in `noise`."""
        start, states = jnp.zeros_like(noise), encode(self.encoder, observations)
        return map_members(
            lambda member: member.features(member.condition(states, actions), noise, start),
            self.members,
        )

    def velocities(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        values: Float[Array, "batch samples"],
        time: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples"]:
        """Every member's velocity v(t, z | s, a) at the points `values` and times `time`."""
        states = encode(self.encoder, observations)
        return map_members(
            lambda member: member(member.condition(states, actions), values, time),
            self.members,
        )

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch #samples"],
        draws: FlowCriticDraws,
        *,
        velocity_shift: Float[Array, "batch samples"] | float = 0.0,
    ) -> Float[Array, ""]:
        """The flow-matching loss: Σ over samples of (v(t, z(t) | s, a) − (y − z₀))².

        A mean over batch and members, on the straight path from z₀ to the target y, which all
        members share (arXiv 2509.06863, section 4). A network that predicts the end point is
        compared with y itself.

        Args:
            observations: States.
            actions: Actions of the data.
            targets: TD targets y, in units of return: one for all samples of a state, or one each.
            draws: Starts and times, from `sample_draws`.
            velocity_shift: Added to the velocity that is to be learned, but not to the path.

        Raises:
            ValueError: If `targets` lack the axis of samples.
        """
        check_target_samples(targets)
        noise, time = draws.initial_noise, draws.time
        path_end = jnp.broadcast_to(targets, noise.shape)
        points = interpolate(noise, path_end, time)
        if self.config.prediction == "endpoint":
            aim = path_end + velocity_shift
        else:
            aim = target_velocity(noise, path_end) + velocity_shift
        states = encode(self.encoder, observations)
        predicted = map_members(
            lambda member: member.predict(member.condition(states, actions), points, time),
            self.members,
        )
        return jnp.mean(jnp.sum(jnp.square(predicted - aim), axis=-1))

    def td_loss(
        self,
        target_critic: "FlowCritic",
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: FlowCriticDraws,
        *,
        integration_steps: int | Int[Array, ""] | None = None,
    ) -> tuple[Float[Array, ""], Float[Array, "batch target_samples"]]:
        """The loss against targets that a slow copy computes by its own flow, and those targets.

        The expected backup averages the m ends of the flow into one target a state; the
        distributional one keeps them apart (arXiv 2509.06863, section 4). The target's flow takes
        `integration_steps`, if not those of the config.
        """
        next_samples = target_critic.aggregate(
            target_critic.return_samples(
                batch.next_observations,
                next_actions,
                draws.next_initial_noise,
                integration_steps=integration_steps,
            )
        )
        shift = 0.0
        if self.config.control_variate:
            shift = discount * target_critic.control_variate(
                batch, next_actions, next_samples, draws
            )
        if self.config.backup == "expected":
            next_samples = jnp.mean(next_samples, axis=-1, keepdims=True)
        targets = td_target_samples(batch.rewards, batch.masks, next_samples, discount)
        loss = self.loss(batch.observations, batch.actions, targets, draws, velocity_shift=shift)
        return loss, targets

    def control_variate(
        self,
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        next_samples: Float[Array, "batch samples"],
        draws: FlowCriticDraws,
    ) -> Float[Array, "batch samples"]:
        """λ · mask · (v(t, z′(t) | s′, a′) − (z′₁ − z₀)): of mean 0 where this field is exact.

        With the same start z₀ in both flows, the path of (s, a) is an affine image of the next
        state's path z′(t), so that the sampled velocity z′₁ − z₀ in its target may be traded
        against the field's expectation of it (arXiv 2605.08253).
        """
        noise, time = draws.next_initial_noise, draws.time
        points = interpolate(noise, next_samples, time)
        expected = self.aggregate(
            self.velocities(batch.next_observations, next_actions, points, time)
        )
        difference = expected - target_velocity(noise, next_samples)
        weight = self.config.control_variate * batch.masks[:, None]
        return jax.lax.stop_gradient(weight * difference)
