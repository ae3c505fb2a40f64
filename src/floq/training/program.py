"""The compiled program of training: any number of updates of every seed in one call."""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from floq.data.dataset import Dataset
from floq.training.devices import SEEDS, SplitSource, device_grid
from floq.training.hosts import fetch
from floq.types import Algorithm, Batch, Statistics
from floq.workers import available_cores


@runtime_checkable
class Source(Protocol):
    """Where batches come from: a pytree, such as a dataset."""

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions."""
        ...


class Carry(NamedTuple):
    """What training carries from update to update, with a leading axis `seeds` everywhere.

    Attributes:
        state: The algorithm's state.
        metric_sums: The sum of each metric over the updates since the last log (offline, at a log
            step: since the log before).
    """

    state: Any
    metric_sums: dict[str, Float[Array, "*seeds"]]


def initial_state(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The state of every seed before the first update, stacked along a leading axis."""
    # It runs once, so that optimising it would take longer than it saves.
    options = {"xla_backend_optimization_level": 0}
    initialise = _initialisation(algorithm, config, statistics)
    return jax.jit(initialise, compiler_options=options)(_as_array(seeds))


def state_template(
    algorithm: Algorithm, config: Any, statistics: Statistics, seeds: Sequence[int]
) -> Any:
    """The shapes and dtypes of `initial_state`, without computing it."""
    return jax.eval_shape(_initialisation(algorithm, config, statistics), _as_array(seeds))


def _initialisation(
    algorithm: Algorithm, config: Any, statistics: Statistics
) -> Callable[[UInt32[Array, " seeds"]], Any]:
    def initialise(seed: UInt32[Array, ""]) -> Any:
        state = algorithm.init(config, statistics, key=_keys(seed)[0])
        # Python's numbers leave weak dtypes, which a state from a checkpoint does not have.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    return lambda seeds: jax.lax.map(initialise, seeds)


class Learner(NamedTuple):
    """A learning rule with its settings: what the programs of both phases compile.

    Attributes:
        algorithm: The learning rule.
        config: Its settings; `batch_size` is read here.
    """

    algorithm: Algorithm
    config: Any

    def start(self, state: Any, source: Source) -> Carry:
        """The carry of a state, stacked over seeds, from which no update was made yet."""
        own = jax.tree.map(lambda leaf: leaf[0], state)
        shapes = jax.eval_shape(lambda: self.update(own, _as_array((0,))[0], 0, source)[1])
        seeds = len(jax.tree.leaves(state)[0])
        return Carry(state, {name: jnp.zeros(seeds) for name in sorted(shapes)})

    def advance(
        self,
        carry: Carry,
        seed: UInt32[Array, ""],
        bounds: Int[Array, "2"],
        source: Source,
        *,
        log_interval: int | None = None,
    ) -> Carry:
        """One seed's carry after the updates from the first bound up to the second.

        Args:
            carry: The carry before, without an axis `seeds`.
            seed: The seed.
            bounds: Numbers of the first update and of the one after the last.
            source: The data.
            log_interval: Updates after which the sums of the metrics start anew; None never.
        """

        def body(step: Any, carry: Carry) -> Carry:
            state, metrics = self.update(carry.state, seed, step, source)
            starts_window = step % log_interval == 0 if log_interval else False
            sums = {
                name: jnp.where(starts_window, 0, total) + metrics[name]
                for name, total in carry.metric_sums.items()
            }
            return Carry(state, sums)

        return jax.lax.fori_loop(bounds[0], bounds[1], body, carry)

    def update(
        self, state: Any, seed: UInt32[Array, ""], step: Any, source: Source
    ) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """One update, whose key follows from the seed and the update's number alone."""
        batch_key, update_key = jax.random.split(jax.random.fold_in(_keys(seed)[1], step))
        batch = source.sample(self.config.batch_size, key=batch_key)
        return self.algorithm.update(self.config, state, batch, key=update_key)


class Program:
    """Training from any step to any later one, compiled once.

    An accelerator runs all seeds as one batch. A CPU is slow at batched matrix products, so there
    each seed runs by itself, as many at a time as there are cores. Several devices share seeds and
    batches, as `floq.training.devices` says.

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

        Raises:
            ValueError: If several devices cannot share seeds and batches evenly.
        """
        self._learner = Learner(algorithm, config)
        self._dataset = dataset
        self._seeds = _as_array(seeds)
        self._compiled = False
        self._grid = device_grid(len(seeds), config.batch_size)
        advance_seed = functools.partial(self._learner.advance, log_interval=log_interval)
        if self._grid is not None:
            self._seeds = self._grid.place(self._seeds, self._grid.by_seed)
            everywhere = self._grid.place(dataset, self._grid.everywhere)
            self._source = SplitSource(everywhere, self._grid)
            advance = jax.vmap(advance_seed, (0, 0, None, None), spmd_axis_name=SEEDS)
            results = Carry(
                self._grid.by_seed,
                self._grid.everywhere,  # pyright: ignore[reportArgumentType] - for all of them
            )
            self._advance = jax.jit(advance, donate_argnums=0, out_shardings=results)
            return
        self._batched = runs_batched()
        advance = jax.vmap(advance_seed, (0, 0, None, None))
        self._advance = jax.jit(advance if self._batched else advance_seed, donate_argnums=0)

    def start(self, state: Any) -> Carry:
        """The carry for a state at a multiple of the log interval."""
        return self._learner.start(state, self._dataset)

    def place(self, carry: Carry) -> Carry:
        """The carry where `advance` needs it: of several devices, each gets its own."""
        if self._grid is None:
            return carry
        return Carry(
            self._grid.place(carry.state, self._grid.by_seed),
            self._grid.place(carry.metric_sums, self._grid.everywhere),
        )

    def state(self, carry: Carry) -> Any:
        """The algorithm's state, stacked over all seeds, on one device of this process."""
        if self._grid is None:
            return carry.state
        # Copied: the next updates overwrite the carry.
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), fetch(carry.state))

    def advance(self, carry: Carry, first: int, last: int) -> Carry:
        """The carry after the updates `first` to `last - 1`; the given one is consumed."""
        if self._grid is not None:
            numbers = np.array([first, last], np.int32)
            return self._advance(carry, self._seeds, numbers, self._source)
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
        with ThreadPoolExecutor(available_cores()) as threads:
            done += threads.map(advance_one, range(len(done), len(self._seeds)))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)


def runs_batched() -> bool:
    """Whether several seeds run as one batch here."""
    return jax.default_backend() != "cpu"


def action_key(seed: UInt32[Array, ""]) -> Key[Array, ""]:
    """The key that every action in training folds its environment and its step into."""
    # Updates fold their number into the same key, and have numbers below 2³¹.
    return jax.random.fold_in(_keys(seed)[1], 2**32 - 1)


def _keys(seed: UInt32[Array, ""]) -> Any:
    """The key of the initialisation, and the one that each update folds its step into."""
    return jax.random.split(jax.random.key(seed))


def _as_array(seeds: Sequence[int]) -> UInt32[Array, " seeds"]:
    return jnp.array(seeds, jnp.uint32)
