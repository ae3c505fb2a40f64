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
from floq.data.goal_dataset import GoalDataset
from floq.data.streamed import Part
from floq.networks import augment
from floq.observations import EncoderConfig, ObservationForm
from floq.processor import batches_products, compiler_options
from floq.runs.states import seed_array, seed_keys
from floq.training.devices import SEEDS, SplitSource, device_grid
from floq.training.hosts import fetch
from floq.types import Algorithm, Batch
from floq.workers import available_cores


@runtime_checkable
class Source(Protocol):
    """Where batches come from: a pytree, such as a dataset."""

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions."""
        ...

    @property
    def form(self) -> ObservationForm | None:
        """What the bytes of an observation are; None of vectors."""
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
        _, shapes = self._trace(state, source)[1]
        seeds = len(jax.tree.leaves(state)[0])
        return Carry(state, {name: jnp.zeros(seeds) for name in sorted(shapes)})

    def compiler_options(self, state: Any, source: Source) -> dict[str, Any]:
        """How XLA is to compile the updates of a state, stacked over seeds, on this processor."""
        return compiler_options(self._trace(state, source)[0].jaxpr)

    def _trace(self, state: Any, source: Source) -> tuple[Any, Any]:
        """The program of one update, and the shapes of what comes of it."""
        own = jax.eval_shape(lambda state: jax.tree.map(lambda leaf: leaf[0], state), state)
        update = functools.partial(_update, self.algorithm.update, self.config)
        arguments = (own, jnp.uint32(0), jnp.int32(0), source)
        return jax.make_jaxpr(update, return_shape=True)(*arguments)

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
            rule, config = self.algorithm.update, self.config
            state, metrics = _update(rule, config, carry.state, seed, step, source)
            starts_window = step % log_interval == 0 if log_interval else False
            sums = {
                name: jnp.where(starts_window, 0, total) + metrics[name]
                for name, total in carry.metric_sums.items()
            }
            return Carry(state, sums)

        return jax.lax.fori_loop(bounds[0], bounds[1], body, carry)


# Compiled by itself, it is traced but once: for the names of its metrics and for `advance`.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _update(
    update: Callable[..., tuple[Any, dict[str, Float[Array, ""]]]],
    config: Any,
    state: Any,
    seed: UInt32[Array, ""],
    step: Any,
    source: Source,
) -> tuple[Any, dict[str, Float[Array, ""]]]:
    """One update, whose key follows from the seed and the update's number alone."""
    batch_key, update_key = jax.random.split(jax.random.fold_in(seed_keys(seed)[1], step))
    batch = source.sample(config.batch_size, key=batch_key)
    if source.form is not None:
        shift = getattr(config, "encoder", EncoderConfig())
        batch = augment(batch, source.form, shift, key=jax.random.fold_in(batch_key, 1))
    return update(config, state, batch, key=update_key)


class Program:
    """Training from any step to any later one, compiled once.

    Seeds run in the groups of `split_seeds`, as many groups at a time as there are cores. Several
    devices share seeds and batches, as `floq.training.devices` says.

    The bounds are data, not constants, and the key of update t follows from the seed and t alone.
    So it does not matter into how many calls a training is cut.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        dataset: Dataset | GoalDataset | Part,
        seeds: Sequence[int],
        *,
        log_interval: int,
    ):
        """Prepares the program; it is compiled when it first runs.

        Args:
            algorithm: The learning rule.
            config: Its settings; `batch_size` is read here.
            dataset: The data, or the first part of it, shared by the seeds.
            seeds: One for each entry of the leading axis.
            log_interval: Updates after which the sums of the metrics start anew.

        Raises:
            ValueError: If several devices cannot share seeds and batches evenly.
        """
        self._learner = Learner(algorithm, config)
        self._compiled = False
        self._grid = device_grid(len(seeds), config.batch_size)
        self._advance_seed = functools.partial(self._learner.advance, log_interval=log_interval)
        if self._grid is None:
            self._seeds = split_seeds(seed_array(seeds))
        else:
            self._seeds = [self._grid.place(seed_array(seeds), self._grid.by_seed)]
        self.use(dataset)

    def use(self, dataset: Dataset | GoalDataset | Part) -> None:
        """Has the updates from now on draw from other data of the same shape."""
        if self._grid is None:
            self._source: Source | None = dataset
        else:
            everywhere = self._grid.place(dataset, self._grid.everywhere)
            self._source = SplitSource(everywhere, self._grid)

    def free(self) -> None:
        """Lets go of the data, to make room for other data."""
        self._source = None

    def start(self, state: Any) -> Carry:
        """The carry for a state at a multiple of the log interval; called first."""
        assert self._source is not None
        self._advance = self._lift(self._learner.compiler_options(state, self._source))
        return self._learner.start(state, self._source)

    def _lift(self, options: dict[str, Any]) -> Callable[..., Carry]:
        """`Learner.advance` of all seeds of a group, or of a grid of devices, to be compiled."""
        if self._grid is None:
            advance = over_seeds(self._advance_seed, shared=2)
            return jax.jit(advance, donate_argnums=0, compiler_options=options)
        advance = jax.vmap(self._advance_seed, (0, 0, None, None), spmd_axis_name=SEEDS)
        results = Carry(
            self._grid.by_seed,
            self._grid.everywhere,  # pyright: ignore[reportArgumentType] - for all of them
        )
        return jax.jit(advance, donate_argnums=0, out_shardings=results, compiler_options=options)

    def place(self, carry: Carry) -> list[Carry]:
        """The carry as `advance` takes it: in groups, or each device's own."""
        if self._grid is None:
            return split_seeds(carry)
        return [
            Carry(
                self._grid.place(carry.state, self._grid.by_seed),
                self._grid.place(carry.metric_sums, self._grid.everywhere),
            )
        ]

    def state(self, carries: Sequence[Carry]) -> Any:
        """The algorithm's state, stacked over all seeds, on one device of this process."""
        states = [carry.state for carry in carries]
        if self._grid is None:
            return join_seeds(states)
        # Copied: the next updates overwrite the carry.
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), fetch(states[0]))

    def advance(self, carries: Sequence[Carry], first: int, last: int) -> list[Carry]:
        """The carries after the updates `first` to `last - 1`; the given ones are consumed."""
        bounds = np.array([first, last], np.int32)

        def advance_one(seeds: Array, carry: Carry) -> Carry:
            return jax.block_until_ready(self._advance(carry, seeds, bounds, self._source))

        if len(carries) == 1:
            return [advance_one(self._seeds[0], carries[0])]
        # The first group ever goes alone: it is the one that compiles.
        done = [] if self._compiled else [advance_one(self._seeds[0], carries[0])]
        self._compiled = True
        with ThreadPoolExecutor(available_cores()) as threads:
            done += threads.map(advance_one, self._seeds[len(done) :], carries[len(done) :])
        return done


def sums_of(carries: Sequence[Carry]) -> dict[str, np.ndarray]:
    """The sums of the metrics of all seeds, each [seeds]."""
    sums = jax.device_get([carry.metric_sums for carry in carries])
    return {name: np.concatenate([own[name] for own in sums]) for name in sums[0]}


def split_seeds(tree: Any) -> list[Any]:
    """New arrays of every group of seeds that run as one batch, from those of all, [seeds, ...].

    An accelerator has one group. A CPU is slow at batched matrix products, so there each seed is
    a group of its own.
    """
    if batches_products():
        return [jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)]
    # By numpy, which need not compile a slice for each shape.
    arrays = jax.tree.map(np.asarray, tree)
    return [
        jax.tree.map(lambda leaf, index=index: jnp.array(leaf[index : index + 1]), arrays)
        for index in range(len(jax.tree.leaves(arrays)[0]))
    ]


def join_seeds(groups: Sequence[Any]) -> Any:
    """The arrays of all seeds, from those of every group; its own where there is but one."""
    if len(groups) == 1:
        return groups[0]
    return jax.tree.map(lambda *leaves: jnp.array(np.concatenate(leaves)), *groups)


def over_seeds(function: Callable[..., Any], *, shared: int) -> Callable[..., Any]:
    """A function of one seed's arrays as one of a group's; the last `shared` ones have no seeds."""

    def lifted(*arguments: Any) -> Any:
        own = len(arguments) - shared
        if batches_products():
            return jax.vmap(function, (0,) * own + (None,) * shared)(*arguments)
        single = jax.tree.map(lambda leaf: leaf[0], arguments[:own])
        result = function(*single, *arguments[own:])
        return jax.tree.map(lambda leaf: leaf[None], result)

    return lifted
