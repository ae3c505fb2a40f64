"""How a scalar value z and a time t enter a velocity field (arXiv 2509.06863, section 4)."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ValueEmbedding = Literal["histogram", "scalar"]
TimeEmbedding = Literal["cosine", "fourier", "identity"]

# Beyond √2 · std · this far outside of the support the histogram no longer changes: the mass that
# is left there, 0.5 %, can still be told from rounding noise. Without it the normalisation is 0/0.
_HISTOGRAM_REACH = 2.0
# A value a thousand supports away says no more than that.
_SCALAR_REACH = 1e3


class ValueSupport(NamedTuple):
    """The interval of Q-values that an embedding resolves, in units of return."""

    low: float
    high: float


def value_embedding_size(kind: ValueEmbedding, points: int) -> int:
    """Number of entries of `embed_value`."""
    return points - 1 if kind == "histogram" else 1


def time_embedding_size(kind: TimeEmbedding, frequencies: int) -> int:
    """Number of entries of `embed_time`."""
    return frequencies if kind == "fourier" else 1


def embed_value(
    value: Float[Array, "*shape"],
    support: ValueSupport,
    *,
    kind: ValueEmbedding,
    points: int,
    sigma: float,
) -> Float[Array, "*shape features"]:
    """Embeds values so that a growing z cannot blow activations up; finite for every finite z.

    Args:
        value: The values z.
        support: The interval that the embedding resolves.
        kind: "histogram" gives HL-Gauss bin masses: those of a normal distribution around z,
            renormalised over the support. "scalar" gives z scaled so that the support is [0, 1].
        points: Support points of the histogram: one more than it has bins.
        sigma: Standard deviation of that distribution, in bin widths.

    Returns:
        Bin masses [..., points − 1], or the scaled value [..., 1].
    """
    if kind == "scalar":
        scaled = (value - support.low) / (support.high - support.low)
        return jnp.clip(scaled, -_SCALAR_REACH, 1 + _SCALAR_REACH)[..., None]
    # The rounding of the edges shows in gradients: this is the published runs' way to it.
    edges = np.linspace(support.low, support.high, points).astype(np.float32)
    bin_width = max(edges[1] - edges[0], np.spacing(np.max(np.abs(edges))))
    scale = np.float32(math.sqrt(2)) * np.float32(sigma) * bin_width
    # Departure: the published runs do not bound z, and give NaN far from the support.
    reach = _HISTOGRAM_REACH * scale
    bounded = jnp.clip(value, edges[0] - reach, edges[-1] + reach)[..., None]
    cumulative = jax.scipy.special.erf((edges - bounded) / scale)
    total = cumulative[..., -1:] - cumulative[..., :1]
    return jnp.diff(cumulative, axis=-1) / jnp.maximum(total, np.finfo(np.float32).tiny)


def embed_time(
    time: Float[Array, "*shape"], *, kind: TimeEmbedding, frequencies: int
) -> Float[Array, "*shape features"]:
    """Embeds times in [0, 1].

    Args:
        time: The times t.
        kind: "cosine" is the single cos(t) of the published runs, "fourier" the basis cos(πkt)
            for k = 1 … `frequencies`, "identity" t itself.
        frequencies: Size of the Fourier basis.
    """
    if kind == "identity":
        return time[..., None]
    if kind == "cosine":
        return jnp.cos(time)[..., None]
    return _cos_pi(jnp.arange(1, frequencies + 1) * time[..., None])


def _cos_pi(turns: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """cos(π x), within 2e-7.

    XLA's own cosine is called number by number on a CPU, where 64 of them for each level were a
    quarter of a small quantile critic's update; and rounding π x costs it 1e-5 at x = 64.
    """
    # sin θ for θ in [−π/2, π/2], by Taylor's series to θ¹¹.
    angle = jnp.pi * (0.5 - jnp.abs(turns - 2 * jnp.round(turns / 2)))
    square, series = angle * angle, 1.0
    for divisor in (10 * 11, 8 * 9, 6 * 7, 4 * 5, 2 * 3):
        series = 1 - square / divisor * series
    return angle * series
