"""What an update costs on a task, without computing anything."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from floq.algorithms import algorithm_of
from floq.experiments.compute import count_flops
from floq.tasks import task_sizes
from floq.types import Batch, Statistics


def update_flops(config: Any, task: str) -> float:
    """Floating-point operations of one update of one seed, as `count_flops` has them.

    Args:
        config: The config of an algorithm.
        task: The task, for the sizes of observations and actions.

    Raises:
        ValueError: If there is no such task.
    """
    observation_dim, action_dim = task_sizes(task)
    return _update_flops(config, observation_dim, action_dim * config.action_chunk)


@functools.cache
def _update_flops(config: Any, observation_dim: int, action_dim: int) -> float:
    _, algorithm = algorithm_of(config)
    statistics = Statistics(observation_dim, action_dim, -1.0, 0.0)
    key = jax.random.key(0)
    state = jax.eval_shape(lambda: algorithm.init(config, statistics, key=key))
    size = config.batch_size

    def example() -> Batch:
        observations, actions = jnp.zeros((size, observation_dim)), jnp.zeros((size, action_dim))
        numbers = jnp.zeros(size)
        return Batch(observations, actions, numbers, numbers, observations, actions, numbers)

    return count_flops(
        lambda state, batch, key: algorithm.update(config, state, batch, key=key),
        state,
        jax.eval_shape(example),
        key,
    )
