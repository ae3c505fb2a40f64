"""Diffusion on a variance-preserving path, and its deterministic sampling.

Nothing here knows of reinforcement learning. Time runs as in `floq.flow_matching`: noise at t = 0,
the target at t = 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NoisePredictor = Callable[[Float[Array, ""], Float[Array, "*shape"]], Float[Array, "*shape"]]
"""The expected noise ε̂(t, x) within points x that are all at the same time."""

# Where the path starts, in radians: with a signal of .05, so that an end can be told from it.
_FIRST_ANGLE = 0.05


def signal_and_deviation(
    time: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The share α of the target and σ of the noise at `time`: sine and cosine, α² + σ² = 1.

    The cosine schedule of arXiv 2102.09672, evenly in time.
    """
    angle = _FIRST_ANGLE + (jnp.pi / 2 - _FIRST_ANGLE) * time
    return jnp.sin(angle), jnp.cos(angle)


def diffuse(
    noise: Float[Array, "*shape"], target: Float[Array, "*shape"], time: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """The variance-preserving path x(t) = α(t) y + σ(t) ε at `time` in [0, 1]."""
    signal, deviation = signal_and_deviation(time)
    return signal * target + deviation * noise


def denoise(
    predict_noise: NoisePredictor,
    start: Float[Array, "*shape"],
    *,
    steps: int,
    limit: float = jnp.inf,
) -> Float[Array, "*shape"]:
    """Carries `start` from t = 0 to t = 1 in `steps` equal steps, without noise on the way.

    Each step takes the point for α ŷ + σ ε̂ and moves it to α′ ŷ + σ′ ε̂ (DDIM, arXiv 2010.02502,
    equation 12 without its noise). Its error falls as steps⁻¹. Where an end ŷ is clipped, ε̂ is what
    the point then leaves for it, so that no prediction leads out of all bounds.

    Args:
        predict_noise: ε̂(t, x).
        start: Points at t = 0, standard normal.
        steps: Number of steps, at least 1.
        limit: What no entry of a target exceeds: ends ŷ beyond it are clipped.

    Returns:
        The points at t = 1: the ends ŷ of the last step.
    """

    def step(
        point: Float[Array, "*shape"], times: tuple[Float[Array, ""], Float[Array, ""]]
    ) -> tuple[Float[Array, "*shape"], None]:
        time, following = times
        signal, deviation = signal_and_deviation(time)
        target = (point - deviation * predict_noise(time, point)) / signal
        target = jnp.clip(target, -limit, limit)
        return diffuse((point - signal * target) / deviation, target, following), None

    times = jnp.arange(steps + 1, dtype=start.dtype) / steps
    end, _ = jax.lax.scan(step, start, (times[:-1], times[1:]))
    return end
