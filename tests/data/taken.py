"""Transitions of data, taken by one program in place of one for each operation."""

import jax
import jax.numpy as jnp

take = jax.jit(lambda data, positions: data.take(positions))
all_of = jax.jit(lambda data: data.take(jnp.arange(data.size)))
sample = jax.jit(lambda data, size, key: data.sample(size, key=key), static_argnums=1)
