"""Ensembles: the members of a network, stacked along a leading axis of every array."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.processor import batches_products

Module = TypeVar("Module")
Aggregation = Literal["mean", "min"]


def create_members(
    create: Callable[[Key[Array, ""]], Module], count: int, *, key: Key[Array, ""]
) -> Module:
    """`count` independently initialised members, stacked into one module."""
    return jax.vmap(create)(jax.random.split(key, count))


def map_members(function: Callable[[Any], Any], members: Any) -> Any:
    """Calls `function` on each member of a stacked module and stacks what comes back.

    On a CPU a batched matrix product runs far below a plain one, so there the members are
    written out one after the other; elsewhere they are one batched product.
    """
    if batches_products():
        return jax.vmap(function)(members)
    count = jax.tree.leaves(members)[0].shape[0]
    results = [
        function(jax.tree.map(lambda leaf, index=index: leaf[index], members))
        for index in range(count)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def aggregate(
    values: Float[Array, "ensemble *shape"], aggregation: Aggregation, pessimism: float = 0.0
) -> Float[Array, "*shape"]:
    """One value from those of the members: their minimum, or mean − ρ · standard deviation.

    Args:
        values: The members' values.
        aggregation: Whether the minimum or the mean is taken.
        pessimism: ρ, of a mean alone.
    """
    if aggregation == "min":
        return jnp.min(values, axis=0)
    mean = jnp.mean(values, axis=0)
    if pessimism == 0:
        return mean
    variance = jnp.var(values, axis=0)
    # The square root has no slope at 0, where members agree; there the deviation counts as flat.
    agreed = variance == 0
    return mean - pessimism * jnp.where(agreed, 0.0, jnp.sqrt(jnp.where(agreed, 1.0, variance)))
