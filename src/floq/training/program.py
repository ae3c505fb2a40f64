"""The compiled program of training: any number of updates of every seed in one call."""

from collections.abc import Callable, Sequence
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
    metric_sums: dict[str, Float[Array, " seeds"]]


def over_seeds(function: Callable[..., Any], *stacked: Any) -> Any:
    """Maps `function` over the leading axis of its arguments.

    A CPU is slow at batched matrix products, so there the seeds run one after the other; an
    accelerator runs them as one.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda arguments: function(*arguments), stacked)
    return jax.vmap(function)(*stacked)


def initial_state(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The state of every seed before the first update, stacked along a leading axis."""

    def initialise(seed: UInt32[Array, ""]) -> Any:
        state = algorithm.init(config, statistics, key=_keys(seed)[0])
        # Python's numbers leave weak dtypes, which a state from a checkpoint does not have.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    return jax.jit(lambda seeds: over_seeds(initialise, seeds))(_as_array(seeds))


def state_template(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The shapes and dtypes of `initial_state`, without computing it."""
    return jax.eval_shape(lambda: initial_state(algorithm, config, statistics, seeds))


class Program:
    """Training from any step to any later one, compiled once.

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
        self._advance = jax.jit(self._advance_seeds, donate_argnums=0)

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
        return self._advance(carry, bounds, self._seeds, self._dataset)

    def _advance_seeds(
        self,
        carry: Carry,
        bounds: Int[Array, "2"],
        seeds: UInt32[Array, " seeds"],
        dataset: Dataset,
    ) -> Carry:
        def advance_one(carry: Carry, seed: UInt32[Array, ""]) -> Carry:
            def body(step: Any, carry: Carry) -> Carry:
                state, metrics = self._update(carry.state, seed, step, dataset)
                starts_window = step % self._log_interval == 0
                sums = {
                    name: jnp.where(starts_window, 0, total) + metrics[name]
                    for name, total in carry.metric_sums.items()
                }
                return Carry(state, sums)

            return jax.lax.fori_loop(bounds[0], bounds[1], body, carry)

        return over_seeds(advance_one, carry, seeds)

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
