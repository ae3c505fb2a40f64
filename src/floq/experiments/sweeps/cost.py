"""What runs cost: floating-point operations, counted without computing anything."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from floq.algorithms import algorithm_of
from floq.data.paths import dataset_name
from floq.types import Batch, Statistics

# Entries of an observation and an action of OGBench's domains, by the start of their names.
_SIZES = {
    "pointmaze": (2, 2),
    "antmaze": (29, 8),
    "humanoidmaze": (69, 21),
    "antsoccer": (42, 8),
    "cube-single": (28, 5),
    "cube-double": (37, 5),
    "cube-triple": (46, 5),
    "cube-quadruple": (55, 5),
    "cube-octuple": (91, 5),
    "scene": (40, 5),
    "puzzle-3x3": (55, 5),
    "puzzle-4x4": (83, 5),
    "puzzle-4x5": (99, 5),
    "puzzle-4x6": (115, 5),
}


def task_sizes(task: str) -> tuple[int, int]:
    """Entries of an observation and of an action of a task.

    Raises:
        ValueError: If the task's domain is not known here.
    """
    name = dataset_name(task)
    for start, sizes in _SIZES.items():
        if name.startswith(f"{start}-"):
            return sizes
    raise ValueError(f"The sizes of {task} are not known: add its domain to {__name__}.")


def update_flops(config: Any, task: str) -> int:
    """Floating-point operations of one update of one seed.

    Those of matrix products and convolutions, forwards and backwards, are counted in the traced
    program, a multiplication and an addition being two; all others are left out.

    Args:
        config: The config of an algorithm.
        task: The task, for the sizes of observations and actions.
    """
    observation_dim, action_dim = task_sizes(task)
    return _update_flops(config, observation_dim, action_dim * config.action_chunk)


@functools.cache
def _update_flops(config: Any, observation_dim: int, action_dim: int) -> int:
    _, algorithm = algorithm_of(config)
    statistics = Statistics(observation_dim, action_dim, -1.0, 0.0)
    key = jax.random.key(0)
    state = jax.eval_shape(lambda: algorithm.init(config, statistics, key=key))
    size = config.batch_size

    def update(state: Any) -> Any:
        observations = jnp.zeros((size, observation_dim))
        numbers = jnp.zeros(size)
        actions = jnp.zeros((size, action_dim))
        batch = Batch(observations, actions, numbers, numbers, observations, actions, numbers)
        return algorithm.update(config, state, batch, key=key)

    return _count(jax.make_jaxpr(update)(state).jaxpr)


def _count(jaxpr: Any) -> int:
    """The operations of a traced program, with those of the programs inside of it."""
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        products = math.prod(shape[axis] for axis in contracted)
        return 2 * products * math.prod(equation.outvars[0].aval.shape)
    if name == "conv_general_dilated":
        kernel, dimensions = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        outputs = kernel[dimensions.rhs_spec[0]]
        return 2 * math.prod(kernel) // outputs * math.prod(equation.outvars[0].aval.shape)
    inner = [_count(jaxpr) for jaxpr in _inner(equation)]
    if name == "cond":
        return max(inner, default=0)
    # The trips of a scan are known; a loop that ends by a condition counts once.
    return equation.params.get("length", 1) * sum(inner) if inner else 0


def _inner(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            closed = getattr(part, "jaxpr", part)
            if hasattr(closed, "eqns"):
                yield closed
