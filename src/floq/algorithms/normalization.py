"""Observations on one scale: an algorithm whose networks see them less a mean, over a deviation."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from floq.networks.encoder import Encoder
from floq.networks.mlp import MLP, Dense
from floq.networks.modules import holds, replaced, with_static
from floq.observations import Normalization, ObservationForm
from floq.types import Algorithm, Batch, Statistics


class _Rule:
    """The parts of an algorithm; equal to itself alone, as a module is, for caches of programs."""

    def __init__(self, **parts: Any):
        vars(self).update(parts)


@functools.cache
def normalized(
    algorithm: Algorithm, normalization: Normalization, form: ObservationForm | None = None
) -> Algorithm:
    """The algorithm with networks that see normalised observations; its callers give raw ones.

    Args:
        algorithm: The learning rule.
        normalization: How they are normalised.
        form: What rows of bytes hold, of which encoders normalise the vectors; None where
            observations are vectors.
    """
    if form is not None:
        return _encoding_normalized(algorithm, normalization)

    def update(config: Any, state: Any, batch: Batch, *, key: Any) -> Any:
        seen = batch._replace(
            observations=normalization(batch.observations),
            next_observations=normalization(batch.next_observations),
        )
        return algorithm.update(config, state, seen, key=key)

    def seeing(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda config, state, observations, *, keys: act(
            config, state, normalization(observations), keys=keys
        )

    acts = {
        name: seeing(getattr(algorithm, name))
        for name in ("act", "act_behaviour")
        if hasattr(algorithm, name)
    }
    return _changed(algorithm, update=update, **acts)


def _encoding_normalized(algorithm: Algorithm, normalization: Normalization) -> Algorithm:
    """The algorithm with encoders that normalise the vectors beside images."""

    def init(config: Any, statistics: Statistics, *, key: Any) -> Any:
        state = algorithm.init(config, statistics, key=key)
        return replaced(state, Encoder, lambda one: with_static(one, normalization=normalization))

    return _changed(algorithm, init=init)


def _changed(algorithm: Algorithm, **parts: Any) -> Algorithm:
    """The algorithm with other functions in place of some of its own."""
    names = ("Config", "init", "update", "act", "act_behaviour")
    own = {name: getattr(algorithm, name) for name in names if hasattr(algorithm, name)}
    rule: Any = _Rule(**(own | parts))
    return rule


class _NormalizingDense(Dense):
    """A first layer that normalises its inputs, of which the first ones are an observation."""

    normalization: Normalization = eqx.field(static=True)

    def __init__(self, layer: Dense, normalization: Normalization):
        self.kernel, self.bias, self.precision = layer.kernel, layer.bias, layer.precision
        others = layer.kernel.shape[-2] - len(normalization.mean)
        self.normalization = Normalization(
            normalization.mean + (0.0,) * others, normalization.deviation + (1.0,) * others
        )

    def product(
        self, inputs: Float[Array, "*shape some_inputs"], rows: slice = slice(None)
    ) -> Float[Array, "*shape outputs"]:
        """The product of the normalised inputs."""
        own = Normalization(*(one[rows] for one in self.normalization))
        return super().product(own(inputs), rows)


def reading_raw(networks: Any, normalization: Normalization) -> Any | None:
    """Networks as they were trained by `normalized`, as functions of raw observations.

    Args:
        networks: A pytree whose networks read an observation first, such as a critic of floq.
        normalization: How they were trained.

    Returns:
        The same with other first layers; None if there is no `MLP` in it, whose first layer is
        known.
    """
    if not holds(networks, MLP):
        return None

    def read(network: MLP) -> MLP:
        first = _NormalizingDense(network.first, normalization)
        return eqx.tree_at(lambda mlp: mlp.first, network, first)

    return replaced(networks, MLP, read)
