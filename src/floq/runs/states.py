"""The state of every seed of a run, and the keys that follow from a seed."""

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
    # It runs once, so that optimising it would take longer than it saves.
    options = {"xla_backend_optimization_level": 0}
    initialise = _initialisation(algorithm, config, statistics)
    return jax.jit(initialise, compiler_options=options)(seed_array(seeds))


def states_template(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The shapes and dtypes of `initial_states`, without computing it."""
    return jax.eval_shape(_initialisation(algorithm, config, statistics), seed_array(seeds))


def _initialisation(
    algorithm: Algorithm, config: Any, statistics: Statistics
) -> Callable[[UInt32[Array, " seeds"]], Any]:
    def initialise(seed: UInt32[Array, ""]) -> Any:
        state = algorithm.init(config, statistics, key=seed_keys(seed)[0])
        # Python's numbers leave weak dtypes, which a state from a checkpoint does not have.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    return lambda seeds: jax.lax.map(initialise, seeds)


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
