"""The shape of a flow critic's flow over many states and actions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from floq.critics.flow import FlowCritic
from floq.critics.velocity_field import VelocityField
from floq.inspection.probe import from_straight_lines
from floq.networks import map_members, past_encoder

_STARTS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class FlowShape:
    """How a flow runs from noise to value, for many pairs (s, a) and starts z₀.

    The starts are the middles of equal parts of the noise interval.

    Attributes:
        times: The times t at which the critic's own integration stops, from 0 to 1, [points].
        paths: The values z(t), [pairs, ensemble, points, starts].
        samples: The ends of the flow, aggregated over the members, [pairs, starts].
        slopes: ∂v/∂z at every point but the last, [pairs, ensemble, points − 1, starts].
    """

    times: np.ndarray
    paths: np.ndarray
    samples: np.ndarray
    slopes: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """z(t) minus the straight line from start to end, [pairs, ensemble, points, starts]."""
        return from_straight_lines(self.times, self.paths)

    @property
    def curvature(self) -> np.ndarray:
        """Mean distance from the straight line, over members, times and starts, [pairs]."""
        return np.abs(self.deviations).mean(axis=(1, 2, 3))

    @property
    def travelled(self) -> float:
        """Mean distance between start and end."""
        return float(np.abs(self.paths[:, :, -1] - self.paths[:, :, 0]).mean())

    @property
    def noise_spread(self) -> float:
        """Standard deviation of the starts."""
        return float(self.paths[0, 0, 0].std())

    @property
    def member_spread(self) -> np.ndarray:
        """Standard deviation of each member's ends over the starts, [pairs, ensemble]."""
        return self.paths[:, :, -1].std(axis=-1)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of the critic's samples over the starts, [pairs]."""
        return self.samples.std(axis=-1)

    @property
    def damping(self) -> np.ndarray:
        """The c in ∂v/∂z = −c / (1 − t) at each point, [pairs, ensemble, points − 1, starts].

        Where every c is above some c₀ > 0, an error that early steps make shrinks to a share of
        order K^−c₀ over K steps (arXiv 2603.04333). A target that does not vary has the field
        (y − z) / (1 − t), so c = 1; a field that does not read z has c = 0.
        """
        return -(1 - self.times[:-1, None]) * self.slopes

    @property
    def typical_damping(self) -> float:
        """The median c."""
        return float(np.median(self.damping))

    @property
    def kept_damping(self) -> float:
        """The largest c with which 90 % of the points keep ∂v/∂z ≤ −c / (1 − t)."""
        return float(np.quantile(self.damping, 0.1))


def flow_shape(critic: FlowCritic, observations: np.ndarray, actions: np.ndarray) -> FlowShape:
    """The flow of pairs (s, a), at the critic's own number of integration steps.

    Args:
        critic: The critic.
        observations: States, [pairs, obs].
        actions: Actions, [pairs, act].
    """
    low, high = critic.noise_interval
    starts = low + (high - low) * (np.arange(_STARTS) + 0.5) / _STARTS
    noise = jnp.asarray(np.tile(starts, (len(observations), 1)), jnp.float32)
    paths, samples, slopes = _shape(critic, jnp.asarray(observations), jnp.asarray(actions), noise)
    times = np.linspace(0.0, 1.0, paths.shape[2])
    return FlowShape(times, np.asarray(paths), np.asarray(samples), np.asarray(slopes))


# Computed once a page: optimising it would take longer than it saves.
@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def _shape(
    critic: FlowCritic, observations: jax.Array, actions: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    critic, states = past_encoder(critic, observations)
    paths = critic.return_trajectories(states, actions, noise)
    steps = paths.shape[1] - 1

    def slopes_at(time: jax.Array, points: jax.Array) -> jax.Array:
        def velocities(points: jax.Array) -> jax.Array:
            def velocity(own: tuple[VelocityField, jax.Array]) -> jax.Array:
                member, values = own
                return member(member.condition(states, actions), values, time)

            return map_members(velocity, (critic.members, points))

        # A velocity depends on the z of its own point alone: their sum has all derivatives. In
        # reverse, since products in bfloat16 have no forward mode.
        return jax.grad(lambda points: jnp.sum(velocities(points)))(points)

    times = jnp.arange(steps) / steps
    slopes = jax.lax.map(lambda item: slopes_at(*item), (times, jnp.moveaxis(paths, 1, 0)[:-1]))
    # From [ensemble, points, pairs, starts] and [points, ensemble, pairs, starts].
    samples = critic.aggregate(paths[:, -1])
    return jnp.moveaxis(paths, 2, 0), samples, jnp.moveaxis(slopes, 2, 0).swapaxes(1, 2)
