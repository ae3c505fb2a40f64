"""Dense and residual multi-layer perceptrons.

Our own few lines instead of `eqx.nn`, whose layers initialise and round differently from the
published runs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.networks.product import Precision, product
from floq.settings import normalise

_KERNEL_INITIALIZER = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
_LAYER_NORM_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network.

    Attributes:
        hidden_sizes: Widths of the hidden layers. With residual blocks, these are the layers of
            each block and must all be equal.
        residual_blocks: 0 is a plain MLP; otherwise one dense layer, then this many blocks
            x + block(x).
        layer_norm: Whether a layer norm follows each activation.
        precision: In what matrix products read their factors. They add up in float32, and
            everything else is float32 either way. "bfloat16" keeps 8 bits of each factor, which
            processors with units for it multiply several times as fast; "fastest" does so on
            those, and is "float32" on others.
    """

    hidden_sizes: tuple[int, ...] = (512, 512, 512, 512)
    residual_blocks: int = 0
    layer_norm: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuses shapes that no network can have."""
        normalise(self)
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(
                f"hidden_sizes is {self.hidden_sizes}: give at least one width, all of them 1 or "
                "more, such as (512, 512, 512, 512)."
            )
        if self.residual_blocks < 0:
            raise ValueError(
                f"residual_blocks is {self.residual_blocks}: 0 is a plain MLP, 1 or more counts "
                "the residual blocks."
            )
        if self.residual_blocks and len(set(self.hidden_sizes)) > 1:
            raise ValueError(
                f"hidden_sizes is {self.hidden_sizes} with residual_blocks={self.residual_blocks}: "
                "a residual block adds its input to its output, so give equal widths."
            )


class Dense(eqx.Module):
    """y = x W + b."""

    kernel: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]
    precision: Precision = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        precision: Precision = "float32",
        key: Key[Array, ""],
    ):
        self.kernel = _KERNEL_INITIALIZER(key, (inputs, outputs), jnp.float32)
        self.bias = jnp.zeros(outputs)
        self.precision = precision

    def __call__(self, inputs: Float[Array, "*shape inputs"]) -> Float[Array, "*shape outputs"]:
        """Applies the layer over the last axis."""
        return self.product(inputs) + self.bias

    def product(
        self, inputs: Float[Array, "*shape some_inputs"], rows: slice = slice(None)
    ) -> Float[Array, "*shape outputs"]:
        """The product x W without the bias, or the share of it that some of the inputs have."""
        return product(inputs, self.kernel[rows], self.precision)


class LayerNorm(eqx.Module):
    """Standardisation over the last axis, then a learned scale and bias."""

    scale: Float[Array, " size"]
    bias: Float[Array, " size"]

    def __init__(self, size: int):
        self.scale = jnp.ones(size)
        self.bias = jnp.zeros(size)

    def __call__(self, inputs: Float[Array, "*shape size"]) -> Float[Array, "*shape size"]:
        """Standardises over the last axis."""
        mean = jnp.mean(inputs, axis=-1, keepdims=True)
        centred = inputs - mean
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        return centred * (jax.lax.rsqrt(variance + _LAYER_NORM_EPSILON) * self.scale) + self.bias


class MLP(eqx.Module):
    """Dense layers, each followed by GELU (tanh form) and, if asked, a layer norm.

    The first layer is kept apart from the others, so that a caller whose inputs partly stay the
    same can compute their share of it once (`features` continues from there).
    """

    first: Dense
    layers: tuple[Dense, ...]
    norms: tuple[LayerNorm, ...]
    head: Dense
    block_size: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, config: NetworkConfig, *, key: Key[Array, ""]):
        sizes = config.hidden_sizes
        widths = (sizes[0], *sizes * config.residual_blocks) if config.residual_blocks else sizes
        first_key, head_key, *keys = jax.random.split(key, 1 + len(widths))
        precision = config.precision
        self.first = Dense(inputs, widths[0], precision=precision, key=first_key)
        self.layers = tuple(
            Dense(before, after, precision=precision, key=layer_key)
            for before, after, layer_key in zip(widths, widths[1:], keys, strict=False)
        )
        self.norms = tuple(LayerNorm(width) for width in widths) if config.layer_norm else ()
        self.head = Dense(widths[-1], outputs, precision=precision, key=head_key)
        self.block_size = len(sizes) if config.residual_blocks else 0

    def _activate(
        self, hidden: Float[Array, "*shape width"], index: int
    ) -> Float[Array, "*shape width"]:
        hidden = jax.nn.gelu(hidden, approximate=True)
        return self.norms[index](hidden) if self.norms else hidden

    def features(self, hidden: Float[Array, "*shape width"]) -> Float[Array, "*shape features"]:
        """The penultimate features, from the first layer's output before its activation."""
        hidden = self._activate(hidden, 0)
        block_input = hidden
        for index, layer in enumerate(self.layers, start=1):
            hidden = self._activate(layer(hidden), index)
            if self.block_size and index % self.block_size == 0:
                hidden = block_input = block_input + hidden
        return hidden

    def __call__(self, inputs: Float[Array, "*shape inputs"]) -> Float[Array, "*shape outputs"]:
        """Applies the network over the last axis."""
        return self.head(self.features(self.first(inputs)))


def is_head(path: Sequence[Any]) -> bool:
    """Whether a leaf of any pytree belongs to the last layer of an `MLP`.

    Args:
        path: Where it is, as `jax.tree_util.tree_map_with_path` says.
    """
    return any(getattr(entry, "name", None) == "head" for entry in path)
