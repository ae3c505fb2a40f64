"""Observations on one scale: an algorithm whose networks see them less a mean, over a deviation."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from floq.networks.mlp import MLP, Dense
from floq.types import Algorithm, Batch

_CONSTANT = 1e-6
"""A deviation of at most this share of an entry's size is what rounding makes of a constant."""


class Normalization(NamedTuple):
    """What is subtracted from each entry of an observation, and what it is then divided by.

    Attributes:
        mean: The mean over all states of the data.
        deviation: The standard deviation over them; 1 for an entry that is constant.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, pieces: Iterable[np.ndarray]) -> "Normalization":
        """That of data, [rows, obs], of which some rows come at a time (Chan et al., 1979)."""
        count, mean, squares = 0, np.zeros(1), np.zeros(1)
        for piece in pieces:
            own, total = piece.mean(axis=0, dtype=np.float64), count + len(piece)
            away = own - mean
            squares = squares + np.square(piece - own).sum(axis=0)
            squares += np.square(away) * count * len(piece) / total
            count, mean = total, mean + away * len(piece) / total
        deviation = np.sqrt(squares / count)
        is_constant = deviation <= _CONSTANT * np.abs(mean)
        deviation = np.where(is_constant, 1.0, deviation)
        return cls(*(tuple(one.astype(np.float32).tolist()) for one in (mean, deviation)))

    def __call__(self, observations: Any) -> Any:
        """The observations as networks see them, of numpy or jax, [..., obs]."""
        mean, deviation = (np.array(one, np.float32) for one in self)
        return (observations - mean) / deviation


class _Rule:
    """The parts of an algorithm; equal to itself alone, as a module is, for caches of programs."""

    def __init__(self, **parts: Any):
        vars(self).update(parts)


@functools.cache
def normalized(algorithm: Algorithm, normalization: Normalization) -> Algorithm:
    """The algorithm with networks that see normalised observations; its callers give raw ones.

    Args:
        algorithm: The learning rule.
        normalization: How they are normalised.
    """

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
    rule: Any = _Rule(Config=algorithm.Config, init=algorithm.init, update=update, **acts)
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
    is_network = lambda node: isinstance(node, MLP)
    leaves = jax.tree.leaves(networks, is_leaf=is_network)
    if not any(map(is_network, leaves)):
        return None

    def read(node: Any) -> Any:
        if not isinstance(node, MLP):
            return node
        return eqx.tree_at(
            lambda mlp: mlp.first, node, _NormalizingDense(node.first, normalization)
        )

    return jax.tree.map(read, networks, is_leaf=is_network)
