"""A learning rule and its settings as a program: any number of updates of one seed in one call."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt32

from floq.networks import augment
from floq.observations import EncoderConfig, ObservationForm
from floq.processor import compiler_options
from floq.runs.states import seed_keys
from floq.types import Algorithm, Batch


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
        metric_sums: The sum of each metric over the updates since they were last set to 0.
    """

    state: Any
    metric_sums: dict[str, Float[Array, "*seeds"]]


class Learner(NamedTuple):
    """A learning rule's functions with its settings: what is compiled in both phases.

    Equal ones are one program, so that a rule whose module was loaded anew is another one.

    Attributes:
        update: The rule's `update`.
        act: Its `act`.
        config: Its settings; `batch_size` is read here.
    """

    update: Callable[..., tuple[Any, dict[str, Float[Array, ""]]]]
    act: Callable[..., Array]
    config: Any

    @classmethod
    def of(cls, algorithm: Algorithm, config: Any) -> "Learner":
        """That of an algorithm."""
        return cls(algorithm.update, algorithm.act, config)

    def start(self, state: Any, source: Source) -> tuple[Carry, dict[str, Any]]:
        """The carry of a state, stacked over seeds, and how XLA is to compile updates of it."""
        own = jax.eval_shape(lambda state: jax.tree.map(lambda leaf: leaf[0], state), state)
        update = functools.partial(_update, self.update, self.config)
        arguments = (own, jnp.uint32(0), jnp.int32(0), source)
        program, (_, shapes) = jax.make_jaxpr(update, return_shape=True)(*arguments)
        seeds = len(jax.tree.leaves(state)[0])
        sums = {name: jnp.zeros(seeds) for name in sorted(shapes)}
        return Carry(state, sums), compiler_options(program.jaxpr)

    def advance(
        self,
        carry: Carry,
        seed: UInt32[Array, ""],
        bounds: Int[Array, "2"],
        source: Source,
    ) -> Carry:
        """One seed's carry after the updates from the first bound up to the second.

        The bounds are data, not constants, and the key of update t follows from the seed and t
        alone. So it does not matter into how many calls a training is cut.

        Args:
            carry: The carry before, without an axis `seeds`.
            seed: The seed.
            bounds: Numbers of the first update and of the one after the last.
            source: The data.
        """

        def body(step: Any, carry: Carry) -> Carry:
            state, metrics = _update(self.update, self.config, carry.state, seed, step, source)
            sums = {name: total + metrics[name] for name, total in carry.metric_sums.items()}
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
