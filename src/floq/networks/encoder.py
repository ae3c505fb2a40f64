"""Encoders: networks from images, and dictionaries with images, to the features others read."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real, UInt8

from floq.networks.mlp import MLP, Dense, NetworkConfig
from floq.observations import EncoderConfig, Normalization, ObservationForm, Part
from floq.processor import batches_products
from floq.types import Batch, Statistics

Module = TypeVar("Module", bound=Any)
_KERNEL_INITIALIZER = jax.nn.initializers.glorot_uniform()


def _convolved(images: Array, kernel: Array) -> Array:
    """A convolution of 3 × 3 pixels that keeps height and width."""
    if batches_products():
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=axes)
    # On a CPU one product of all pixels' neighbourhoods: XLA's own convolutions, and its windows of
    # pooling, took 35 times as long inside of a loop of updates.
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _pooled(images: Array) -> Array:
    """The largest of 3 × 3 pixels around every second one."""
    if batches_products():
        window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
        return jax.lax.reduce_window(images, -jnp.inf, jax.lax.max, window, strides, "SAME")
    # Equal pixels share the gradient here; a window's goes to the first.
    for axis in (1, 2):
        size = images.shape[axis]
        half = -(-size // 2)
        missing = 2 * half + 1 - size
        edges = [(0, 0)] * 4
        edges[axis] = (missing // 2, missing - missing // 2)
        padded = jnp.pad(images, edges, constant_values=-jnp.inf)
        first, second, third = (
            jax.lax.slice_in_dim(padded, start, start + 2 * half - 1, 2, axis) for start in range(3)
        )
        images = jnp.maximum(jnp.maximum(first, second), third)
    return images


class Convolution(eqx.Module):
    """A convolution of 3 × 3 pixels that keeps height and width."""

    kernel: Float[Array, "3 3 inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""]):
        self.kernel = _KERNEL_INITIALIZER(key, (3, 3, inputs, outputs), jnp.float32)
        self.bias = jnp.zeros(outputs)

    def __call__(
        self, images: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch height width outputs"]:
        """Applies the layer to each image."""
        return _convolved(images, self.kernel) + self.bias


class Stack(eqx.Module):
    """A convolution, a max-pool that halves the image, and residual blocks of two convolutions."""

    first: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]

    def __init__(self, inputs: int, outputs: int, blocks: int, *, key: Key[Array, ""]):
        first_key, *keys = jax.random.split(key, 1 + 2 * blocks)
        self.first = Convolution(inputs, outputs, key=first_key)
        layers = [Convolution(outputs, outputs, key=own) for own in keys]
        self.blocks = tuple(zip(layers[::2], layers[1::2], strict=True))

    def __call__(
        self, images: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch half_height half_width outputs"]:
        """Half as many pixels a side, rounded up."""
        hidden = _pooled(self.first(images))
        for before, after in self.blocks:
            hidden += after(jax.nn.relu(before(jax.nn.relu(hidden))))
        return hidden


class ImageEncoder(eqx.Module):
    """IMPALA's network from an image to features (arXiv 1802.01561, figure 3)."""

    stacks: tuple[Stack, ...]
    dense: Dense

    def __init__(self, shape: tuple[int, ...], config: EncoderConfig, *, key: Key[Array, ""]):
        height, width, channels = shape
        dense_key, *keys = jax.random.split(key, 1 + len(config.channels))
        sizes = zip((channels, *config.channels), config.channels, keys, strict=False)
        self.stacks = tuple(
            Stack(before, after, config.residual_blocks, key=own) for before, after, own in sizes
        )
        for _ in self.stacks:
            height, width = -(-height // 2), -(-width // 2)
        self.dense = Dense(height * width * config.channels[-1], config.features, key=dense_key)

    def __call__(
        self, images: UInt8[Array, "batch height width channels"]
    ) -> Float[Array, "batch features"]:
        """The features of each image."""
        hidden = images.astype(jnp.float32) / 255
        for stack in self.stacks:
            hidden = stack(hidden)
        hidden = jax.nn.relu(hidden).reshape(hidden.shape[0], -1)
        return jax.nn.gelu(self.dense(hidden), approximate=True)


class Encoder(eqx.Module):
    """The features of a whole observation: its images encoded, its vectors as they are or scaled.

    Attributes:
        images: The encoder of each image.
        form: What a row of observations holds.
        normalization: How the entries of all vectors are normalised, one vector's after the
            other's; None leaves them as they are.
    """

    images: tuple[ImageEncoder, ...]
    form: ObservationForm = eqx.field(static=True)
    normalization: Normalization | None = eqx.field(static=True)

    def __init__(self, form: ObservationForm, *, key: Key[Array, ""]):
        """Initialises an encoder for each image.

        Args:
            form: What a row of observations holds, and how it is encoded.
            key: Key of the initialisation.
        """
        config, images = form.encoder or EncoderConfig(), [p for p in form.parts if p.is_image]
        keys = jax.random.split(key, max(len(images), 1))
        self.images = tuple(
            ImageEncoder((*part.shape[:2], part.shape[2] * form.frames), config, key=own)
            for part, own in zip(images, keys, strict=False)
        )
        self.form, self.normalization = form, None

    @property
    def size(self) -> int:
        """Number of features."""
        images = sum(image.dense.bias.shape[-1] for image in self.images)
        vectors = sum(part.shape[0] for part in self.form.parts if not part.is_image)
        return images + self.form.frames * vectors

    def __call__(self, observations: UInt8[Array, "*shape obs"]) -> Float[Array, "*shape features"]:
        """The features of each row."""
        rows = observations.reshape(-1, observations.shape[-1])
        arrays = [
            jnp.moveaxis(values, 1, -2).reshape(len(rows), *part.shape[:-1], -1)
            for part, values in unpack(self.form, rows)
        ]
        return self.features(arrays).reshape(*observations.shape[:-1], -1)

    def features(self, arrays: Sequence[Array]) -> Float[Array, "batch features"]:
        """The features of observations whose parts are arrays, as rows of bytes hold them.

        Args:
            arrays: Each part, [batch, *shape], its frames side by side along the last axis.
        """
        encoders, features = iter(self.images), []
        scales = {} if self.normalization is None else self.form.split(self.normalization)
        for part, values in zip(self.form.parts, arrays, strict=True):
            if part.is_image:
                values = next(encoders)(values)
            elif part.name in scales:
                # Frames lie side by side, each on the same scale.
                frames = (one * self.form.frames for one in scales[part.name])
                values = Normalization(*frames)(values)
            features.append(values)
        return jnp.concatenate(features, axis=-1)


class Encoded(eqx.Module):
    """A network behind an encoder."""

    encoder: Encoder
    network: MLP

    @property
    def head(self) -> Dense:
        """The network's last layer."""
        return self.network.head

    def __call__(self, observations: Real[Array, "*shape obs"]) -> Float[Array, "*shape outputs"]:
        """The network's outputs for each row."""
        return self.network(self.encoder(observations))


def create_encoder(
    statistics: Statistics, *, key: Key[Array, ""]
) -> tuple[Encoder | None, Statistics]:
    """The encoder of one network, and the sizes that the network behind it sees.

    Args:
        statistics: Sizes and form of observations.
        key: The key of the whole network, which no vector makes less of.

    Returns:
        None, and the same statistics, where observations are vectors.
    """
    if statistics.observations is None:
        return None, statistics
    encoder = Encoder(statistics.observations, key=jax.random.fold_in(key, 1))
    return encoder, statistics._replace(observation_dim=encoder.size, observations=None)


def observation_network(
    statistics: Statistics, outputs: int, config: NetworkConfig, *, key: Key[Array, ""]
) -> MLP | Encoded:
    """A network that reads observations alone, behind an encoder where it needs one."""
    encoder, seen = create_encoder(statistics, key=key)
    network = MLP(seen.observation_dim, outputs, config, key=key)
    return network if encoder is None else Encoded(encoder, network)


def encode(
    encoder: Callable[[Array], Array] | None, observations: Array
) -> Float[Array, "*shape features"]:
    """What a network behind `encoder` reads of observations."""
    return observations if encoder is None else encoder(observations)


def past_encoder(module: Module, observations: Array) -> tuple[Module, Array]:
    """A module without its encoder, and the features that it then reads.

    So that what is read several times at a state, by samples or steps, is encoded once.
    """
    encoder = getattr(module, "encoder", None)
    if encoder is None:
        return module, observations
    bare = eqx.tree_at(lambda one: one.encoder, module, None)  # pyright: ignore
    return bare, encoder(observations)


def unpack(form: ObservationForm, rows: UInt8[Array, "batch bytes"]) -> list[tuple[Part, Array]]:
    """Each part of packed rows, [batch, frames, *shape]: images of bytes, vectors of float32."""
    framed, found, first = rows.reshape(len(rows), form.frames, -1), [], 0
    for part in form.parts:
        values = framed[..., first : first + part.nbytes]
        if not part.is_image:
            values = jax.lax.bitcast_convert_type(
                values.reshape(*values.shape[:-1], -1, 4), jnp.float32
            )
        found.append((part, values.reshape(*framed.shape[:2], *part.shape)))
        first += part.nbytes
    return found


def augment(
    batch: Batch, form: ObservationForm, config: EncoderConfig, *, key: Key[Array, ""]
) -> Batch:
    """The batch with images shifted at random, or, by a coin, as it is.

    A transition's observation and next observation, and all frames and images of them, are shifted
    alike; what is shifted in from beyond the edge repeats it.

    Args:
        batch: Transitions.
        form: What a row of observations holds.
        config: How far images are shifted, and how often.
        key: Randomness.
    """
    padding = config.crop_padding
    if not padding or not any(part.is_image for part in form.parts):
        return batch
    coin_key, place_key = jax.random.split(key)
    offsets = jax.random.randint(place_key, (len(batch.rewards), 2), 0, 2 * padding + 1)

    def shifted(observations: tuple[Any, Any]) -> tuple[Any, Any]:
        return tuple(_crop(form, rows, offsets, padding) for rows in observations)  # pyright: ignore

    both = batch.observations, batch.next_observations
    is_cropped = jax.random.uniform(coin_key) < config.crop_share
    observations, following = jax.lax.cond(is_cropped, shifted, lambda same: same, both)
    return batch._replace(observations=observations, next_observations=following)


def _crop(form: ObservationForm, rows: Any, offsets: Any, padding: int) -> Any:
    """Packed rows whose images begin at `offsets` in the padded ones."""

    def crop_one(frames: Any, offset: Any) -> Any:
        edge = (padding, padding)
        padded = jnp.pad(frames, ((0, 0), edge, edge, (0, 0)), mode="edge")
        return jax.lax.dynamic_slice(padded, (0, *offset, 0), frames.shape)

    packed = []
    for part, values in unpack(form, rows):
        if part.is_image:
            values = jax.vmap(crop_one)(values, offsets)
        else:
            values = jax.lax.bitcast_convert_type(values, jnp.uint8)
        packed.append(values.reshape(len(rows), form.frames, -1))
    return jnp.concatenate(packed, axis=-1).reshape(rows.shape)
