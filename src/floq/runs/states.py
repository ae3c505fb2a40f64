"""The state of every seed of a run, and the keys that follow from a seed."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt32

from floq.types import Algorithm, Statistics


def initial_states(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The state of every seed before the first update, stacked along a leading axis."""
    return _initialise(algorithm.init, config, statistics, seed_array(seeds))


def states_template(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The shapes and dtypes of `initial_states`, without computing it."""
    return _initialise.eval_shape(algorithm.init, config, statistics, seed_array(seeds))


# It runs once a training, so that optimising it would take longer than it saves.
@functools.partial(
    jax.jit,
    static_argnums=(0, 1, 2),
    compiler_options={"xla_backend_optimization_level": 0},
)
def _initialise(
    init: Callable[..., Any], config: Any, statistics: Statistics, seeds: UInt32[Array, " seeds"]
) -> Any:
    def initialise(seed: UInt32[Array, ""]) -> Any:
        state = init(config, statistics, key=seed_keys(seed)[0])
        # Python's numbers leave weak dtypes, which a state from a checkpoint does not have.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    return jax.lax.map(initialise, seeds)


def action_key(seed: UInt32[Array, ""]) -> Key[Array, ""]:
    """The key that every action in training folds its environment and its step into."""
    # Updates fold their number into the same key, and have numbers below 2³¹.
    return jax.random.fold_in(seed_keys(seed)[1], 2**32 - 1)


def seed_keys(seed: UInt32[Array, ""]) -> Any:
    """The key of the initialisation, and the one that each update folds its step into."""
    return jax.random.split(jax.random.key(seed))


def seed_array(seeds: Sequence[int]) -> UInt32[Array, " seeds"]:
    """Seeds as compiled programs take them."""
    return jnp.array(seeds, jnp.uint32)
