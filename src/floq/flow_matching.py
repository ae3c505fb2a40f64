"""Flow matching on straight paths, and fixed-grid integration of the learned field.

Nothing here knows of reinforcement learning: values and actions are both carried by these few
functions (arXiv 2509.06863 for values, arXiv 2502.02538 for actions).
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from floq.processor import writes_out

VelocityField = Callable[[Float[Array, ""], Float[Array, "*shape"]], Float[Array, "*shape"]]
"""A velocity v(t, z): one time for all the points z that move together."""

Method = Literal["euler", "midpoint", "rk4"]


def interpolate(
    noise: Float[Array, "*shape"], target: Float[Array, "*shape"], time: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """The straight path z(t) = (1 − t) z₀ + t y at `time` in [0, 1]."""
    return (1 - time) * noise + time * target


def target_velocity(
    noise: Float[Array, "*shape"], target: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The velocity y − z₀ of the straight path: the same at every time."""
    return target - noise


def _step(
    velocity: VelocityField,
    time: Float[Array, ""],
    point: Float[Array, "*shape"],
    size: float | Float[Array, ""],
    method: Method,
) -> Float[Array, "*shape"]:
    if method == "euler":
        return point + velocity(time, point) * size
    first = velocity(time, point)
    middle = velocity(time + size / 2, point + first * (size / 2))
    if method == "midpoint":
        return point + middle * size
    middle_again = velocity(time + size / 2, point + middle * (size / 2))
    last = velocity(time + size, point + middle_again * size)
    return point + (first + 2 * middle + 2 * middle_again + last) * (size / 6)


def integrate(
    velocity: VelocityField,
    start: Float[Array, "*shape"],
    *,
    steps: int | Int[Array, ""],
    method: Method = "euler",
) -> Float[Array, "*shape"]:
    """Carries `start` from t = 0 to t = 1 in `steps` equal steps.

    Error falls as steps⁻¹ for Euler, steps⁻² for midpoint and steps⁻⁴ for RK4, which read the
    field 1, 2 and 4 times a step. Compiled once for every number of steps, and differentiable; a
    number that is known only when the program runs serves them all, but has no reverse gradient.

    Args:
        velocity: The field v(t, z).
        start: Points at t = 0.
        steps: Number of steps K, at least 1.
        method: The integration rule.

    Returns:
        The points at t = 1.
    """
    if isinstance(steps, jax.Array):
        size = 1 / steps.astype(start.dtype)
        return jax.lax.fori_loop(
            0, steps, lambda i, point: _step(velocity, i * size, point, size, method), start
        )
    times = jnp.arange(steps, dtype=start.dtype) / steps
    end, _ = jax.lax.scan(
        lambda point, time: (_step(velocity, time, point, 1 / steps, method), None),
        start,
        times,
        unroll=writes_out(steps),
    )
    return end


def trajectory(
    velocity: VelocityField,
    start: Float[Array, "*shape"],
    *,
    steps: int,
    method: Method = "euler",
) -> Float[Array, "points *shape"]:
    """Every point that `integrate` passes, `start` included: `steps` + 1 of them."""

    def advance(
        point: Float[Array, "*shape"], time: Float[Array, ""]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        following = _step(velocity, time, point, 1 / steps, method)
        return following, following

    times = jnp.arange(steps, dtype=start.dtype) / steps
    _, points = jax.lax.scan(advance, start, times)
    return jnp.concatenate([start[None], points])
