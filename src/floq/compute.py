"""What a computation costs: floating-point operations and parameters, counted and not measured."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from floq.algorithms import algorithm_of, floq
from floq.processor import inner_programs, product_flops
from floq.types import Batch, Statistics

_MOVING = {
    *("bitcast_convert_type", "broadcast_in_dim", "concatenate", "convert_element_type", "copy"),
    *("copy_p", "device_put", "dynamic_slice", "dynamic_update_slice", "gather", "iota", "pad"),
    *("optimization_barrier", "random_bits", "random_clone", "random_fold_in", "random_seed"),
    *("random_split", "random_unwrap", "random_wrap", "reshape", "rev", "scatter", "slice"),
    *("split", "squeeze", "stack", "stop_gradient", "threefry2x32", "transpose", "unstack"),
}
"""What only moves numbers or draws random bits: no floating-point operation."""


def count_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of one call, every step of every loop counted.

    A matrix product of shapes [n, k] and [k, m] counts 2nkm, a sum one for each number that goes
    into it, anything else one for each number that comes out (an exponential too). XLA's own cost
    analysis counts the body of a loop once, however often it runs, so that a flow of 16 steps
    would cost what one of a single step does.

    Args:
        function: What to count; it is traced, not run.
        arguments: Its arguments, or their shapes and dtypes.

    Raises:
        ValueError: If there is a loop whose number of steps depends on data.
    """
    return _flops_of(jax.make_jaxpr(function)(*arguments).jaxpr)


@functools.cache
def update_flops(config: Any, statistics: Statistics) -> float:
    """Floating-point operations of one update of one seed, after floq's coarse ones.

    Args:
        config: The config of an algorithm.
        statistics: Sizes of the data, an action being a whole chunk.
    """
    if isinstance(config, floq.Config):
        config = dataclasses.replace(config, coarse_updates=0)
    _, algorithm = algorithm_of(config)
    key = jax.random.key(0)
    state = jax.eval_shape(lambda: algorithm.init(config, statistics, key=key))
    size = config.batch_size

    def example() -> Batch:
        shape = size, statistics.observation_dim
        observations = jnp.zeros(shape, statistics.observation_dtype)
        actions, numbers = jnp.zeros((size, statistics.action_dim)), jnp.zeros(size)
        return Batch(observations, actions, numbers, numbers, observations, actions, numbers)

    return count_flops(
        lambda state, batch, key: algorithm.update(config, state, batch, key=key),
        state,
        jax.eval_shape(example),
        key,
    )


def count_parameters(tree: Any) -> int:
    """Numbers in all arrays of a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _flops_of(jaxpr: Any) -> float:
    return sum((_flops_of_equation(equation) for equation in jaxpr.eqns), start=0.0)


def _flops_of_equation(equation: Any) -> float:
    name, parameters = equation.primitive.name, equation.params
    if name == "while":
        raise ValueError(
            "There is a loop whose number of steps depends on data, so that its operations cannot "
            "be counted: give it a fixed number of steps (`jax.lax.scan`)."
        )
    if name == "cond":
        return max(_flops_of(branch.jaxpr) for branch in parameters["branches"])
    inner = list(inner_programs(parameters))
    if inner:
        return sum(map(_flops_of, inner)) * parameters.get("length", 1)
    # Without a result, there is nothing to compute: a check, or a message.
    if name in _MOVING or not equation.outvars:
        return 0.0
    if name == "conv_general_dilated":
        # Each number that comes out is a product of the kernel's numbers for its channel.
        kernel, axes = equation.invars[1].aval, parameters["dimension_numbers"].rhs_spec
        inner = kernel.size / kernel.shape[axes[0]]
        return 2.0 * equation.outvars[0].aval.size * inner
    if name == "dot_general":
        return product_flops(equation)
    sides = equation.invars if name.startswith(("reduce_", "cum", "arg")) else equation.outvars
    return float(sides[0].aval.size)
