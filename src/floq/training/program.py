"""The compiled program of training: any number of updates of every seed in one call."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from floq.data.dataset import Dataset
from floq.types import Algorithm, Statistics


class Carry(NamedTuple):
    """What training carries from update to update, with a leading axis `seeds` everywhere.

    Attributes:
        state: The algorithm's state.
        metric_sums: The sum of each metric over the updates since the last multiple of the log
            interval (at such a multiple: since the one before).
    """

    state: Any
    metric_sums: dict[str, Float[Array, "*seeds"]]


def initial_state(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The state of every seed before the first update, stacked along a leading axis."""

    def initialise(seed: UInt32[Array, ""]) -> Any:
        state = algorithm.init(config, statistics, key=_keys(seed)[0])
        # Python's numbers leave weak dtypes, which a state from a checkpoint does not have.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    return jax.jit(lambda seeds: jax.lax.map(initialise, seeds))(_as_array(seeds))


def state_template(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The shapes and dtypes of `initial_state`, without computing it."""
    return jax.eval_shape(lambda: initial_state(algorithm, config, statistics, seeds))


class Program:
    """Training from any step to any later one, compiled once.

    An accelerator runs all seeds as one batch. A CPU is slow at batched matrix products, so there
    each seed runs by itself, as many at a time as there are cores.

    The bounds are data, not constants, and the key of update t follows from the seed and t alone.
    So it does not matter into how many calls a training is cut.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        dataset: Dataset,
        seeds: Sequence[int],
        *,
        log_interval: int,
    ):
        """Prepares the program; it is compiled when it first runs.

        Args:
            algorithm: The learning rule.
            config: Its settings; `batch_size` is read here.
            dataset: The data, shared by the seeds.
            seeds: One for each entry of the leading axis.
            log_interval: Updates after which the sums of the metrics start anew.
        """
        self._algorithm = algorithm
        self._config = config
        self._dataset = dataset
        self._seeds = _as_array(seeds)
        self._log_interval = log_interval
        self._compiled = False
        self._batched = jax.default_backend() != "cpu"
        advance = jax.vmap(self._advance_seed, (0, 0, None, None))
        self._advance = jax.jit(advance if self._batched else self._advance_seed, donate_argnums=0)

    def start(self, state: Any) -> Carry:
        """The carry for a state at a multiple of the log interval."""
        shapes = jax.eval_shape(
            lambda: self._update(
                jax.tree.map(lambda leaf: leaf[0], state), self._seeds[0], 0, self._dataset
            )[1]
        )
        return Carry(state, {name: jnp.zeros(len(self._seeds)) for name in sorted(shapes)})

    def advance(self, carry: Carry, first: int, last: int) -> Carry:
        """The carry after the updates `first` to `last - 1`; the given one is consumed."""
        bounds = jnp.array([first, last], jnp.int32)
        if self._batched:
            return self._advance(carry, self._seeds, bounds, self._dataset)

        def advance_one(index: int) -> Carry:
            own = jax.tree.map(lambda leaf: leaf[index], carry)
            return jax.block_until_ready(
                self._advance(own, self._seeds[index], bounds, self._dataset)
            )

        # The first seed ever goes alone: it is the one that compiles.
        done = [] if self._compiled else [advance_one(0)]
        self._compiled = True
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            done += threads.map(advance_one, range(len(done), len(self._seeds)))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)

    def _advance_seed(
        self, carry: Carry, seed: UInt32[Array, ""], bounds: Int[Array, "2"], dataset: Dataset
    ) -> Carry:
        """The same for one seed, whose carry has no axis `seeds`."""

        def body(step: Any, carry: Carry) -> Carry:
            state, metrics = self._update(carry.state, seed, step, dataset)
            starts_window = step % self._log_interval == 0
            sums = {
                name: jnp.where(starts_window, 0, total) + metrics[name]
                for name, total in carry.metric_sums.items()
            }
            return Carry(state, sums)

        return jax.lax.fori_loop(bounds[0], bounds[1], body, carry)

    def _update(
        self, state: Any, seed: UInt32[Array, ""], step: Any, dataset: Dataset
    ) -> tuple[Any, dict[str, Float[Array, ""]]]:
        batch_key, update_key = jax.random.split(jax.random.fold_in(_keys(seed)[1], step))
        batch = dataset.sample(self._config.batch_size, key=batch_key)
        return self._algorithm.update(self._config, state, batch, key=update_key)


def _keys(seed: UInt32[Array, ""]) -> Any:
    """The key of the initialisation, and the one that each update folds its step into."""
    return jax.random.split(jax.random.key(seed))


def _as_array(seeds: Sequence[int]) -> UInt32[Array, " seeds"]:
    return jnp.array(seeds, jnp.uint32)
