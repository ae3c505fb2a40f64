"""Networks and buffers of every seed in an online phase, and the compiled programs over them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real, UInt32

from floq.data.dataset import Dataset
from floq.data.experience import Experience
from floq.data.replay import Mixture, ReplayBuffer
from floq.runs.states import action_key
from floq.training.program import Carry, Learner, join_seeds, over_seeds, split_seeds, sums_of
from floq.workers import available_cores


@dataclasses.dataclass
class _Group:
    """Seeds that run as one batch: all on an accelerator, one on a CPU.

    Attributes:
        seeds: Them, [group].
        carry: Their networks and sums of metrics, with a leading axis `group`.
        buffer: Their buffers, likewise.
        pending: Updates under way in another thread, which give the next carry.
    """

    seeds: UInt32[Array, " group"]
    carry: Carry
    buffer: ReplayBuffer
    pending: Future[Carry] | None = None


class _Programs(NamedTuple):
    """The compiled functions, each over a group's leading axis."""

    update: Callable[..., Carry]
    add: Callable[..., ReplayBuffer]
    act: Callable[..., Array]
    act_at_random: Callable[..., Array]


@functools.cache
def _compile(
    learner: Learner, online_share: float | None, options: tuple[tuple[str, Any], ...]
) -> _Programs:
    """Compiled once for all phases of a process."""

    def update(
        carry: Carry,
        buffer: ReplayBuffer,
        seed: UInt32[Array, ""],
        bounds: Int[Array, "2"],
        dataset: Dataset | None,
    ) -> Carry:
        return learner.advance(carry, seed, bounds, Mixture(dataset, buffer, online_share))

    def act(
        state: Any,
        observations: Real[Array, "envs obs"],
        seed: UInt32[Array, ""],
        time: Int[Array, ""],
    ) -> Float[Array, "envs plan"]:
        keys = _step_keys(seed, len(observations), time)
        return learner.algorithm.act(learner.config, state, observations, keys=keys)

    def act_at_random(
        state: Any,
        observations: Real[Array, "envs obs"],
        seed: UInt32[Array, ""],
        time: Int[Array, ""],
    ) -> Float[Array, "envs plan"]:
        # As long as the policy's own, whose shape is known without computing it.
        shape = jax.eval_shape(act, state, observations, seed, time).shape[1:]
        keys = _step_keys(seed, len(observations), time)
        return jax.vmap(lambda key: jax.random.uniform(key, shape, minval=-1, maxval=1))(keys)

    return _Programs(
        jax.jit(over_seeds(update, shared=2), donate_argnums=0, compiler_options=dict(options)),
        jax.jit(over_seeds(ReplayBuffer.add, shared=0), donate_argnums=0),
        jax.jit(over_seeds(act, shared=1)),
        jax.jit(over_seeds(act_at_random, shared=1)),
    )


class Learners:
    """Acts, takes in experience and updates, for all seeds at once.

    Rows of observations and actions are ordered by seed, then by environment.
    """

    def __init__(
        self,
        learner: Learner,
        seeds: Sequence[int],
        carry: Carry,
        buffers: Sequence[ReplayBuffer],
        *,
        dataset: Dataset | None,
        online_share: float | None,
    ):
        """Prepares the programs; each is compiled when it first runs.

        Args:
            learner: The learning rule.
            seeds: The seeds.
            carry: Their networks and sums of metrics.
            buffers: The buffer of each.
            dataset: Offline data to draw from too.
            online_share: See `Mixture`.
        """
        numbers = split_seeds(jnp.array(seeds, jnp.uint32))
        self._groups = []
        for own_seeds, own in zip(numbers, split_seeds(carry), strict=True):
            first, size = sum(len(group.seeds) for group in self._groups), len(own_seeds)
            buffer = jax.tree.map(lambda *leaves: jnp.stack(leaves), *buffers[first : first + size])
            self._groups.append(_Group(own_seeds, own, buffer))
        self._dataset = dataset
        self._threads = ThreadPoolExecutor(available_cores()) if len(self._groups) > 1 else None
        self._compiled = False

        source = Mixture(dataset, buffers[0], online_share)
        options = learner.compiler_options(carry.state, source)
        self._programs = _compile(learner, online_share, tuple(options.items()))

    def act(self, observations: np.ndarray, time: int, *, at_random: bool) -> np.ndarray:
        """Plans for every row at step `time`, [rows, plan]: the policy's, or uniformly random.

        The key of a plan follows from the seed, the environment and the step alone.
        """
        self.wait()
        function = self._programs.act_at_random if at_random else self._programs.act
        plans = [
            function(group.carry.state, own, group.seeds, np.int32(time))
            for group, own in zip(self._groups, self._shares(observations), strict=True)
        ]
        return np.concatenate([np.asarray(plan).reshape(-1, plan.shape[-1]) for plan in plans])

    def add(self, experience: Experience) -> None:
        """Takes one step of every environment into the buffers."""
        self.wait()
        for group, own in zip(self._groups, self._shares(experience), strict=True):
            group.buffer = self._programs.add(group.buffer, own)

    def advance(self, first: int, last: int) -> None:
        """Starts the updates `first` to `last - 1` of every seed, which go on meanwhile."""
        if first == last:
            return
        self.wait()
        bounds = np.array([first, last], np.int32)

        def advance_one(group: _Group) -> Carry:
            return self._programs.update(
                group.carry, group.buffer, group.seeds, bounds, self._dataset
            )

        for group in self._groups:
            if self._threads is None or not self._compiled:
                group.carry = advance_one(group)
                self._compiled = True
            else:
                finish = functools.partial(_finish, advance_one)
                group.pending = self._threads.submit(finish, group)

    def wait(self) -> None:
        """Waits for updates that other threads have under way."""
        for group in self._groups:
            if group.pending is not None:
                group.carry, group.pending = group.pending.result(), None

    def block(self) -> None:
        """Waits until no update is under way."""
        self.wait()
        jax.block_until_ready([group.carry for group in self._groups])

    def close(self) -> None:
        """Ends the threads."""
        if self._threads is not None:
            self._threads.shutdown()

    def start_window(self) -> None:
        """Sets the sums of the metrics to 0."""
        self.wait()
        for group in self._groups:
            group.carry = group.carry._replace(
                metric_sums=jax.tree.map(jnp.zeros_like, group.carry.metric_sums)
            )

    @property
    def state(self) -> Any:
        """The algorithm's state, stacked over the seeds."""
        self.wait()
        return join_seeds([group.carry.state for group in self._groups])

    def metric_sums(self) -> dict[str, np.ndarray]:
        """The sum of each metric since the last `start_window`, [seeds]."""
        self.wait()
        return sums_of([group.carry for group in self._groups])

    def counts(self) -> dict[str, np.ndarray]:
        """What `ReplayBuffer.restore` needs beside the history, each [seeds, envs]."""
        self.wait()
        return {
            name: np.concatenate([getattr(group.buffer, name) for group in self._groups])
            for name in ("listed", "lowest", "highest")
        }

    def _shares(self, rows: Any) -> list[Any]:
        """Each group's share of arrays of rows, [group, envs, ...]."""
        envs = self._groups[0].buffer.heads.shape[1]
        sizes = [len(group.seeds) for group in self._groups]
        edges = np.concatenate([[0], np.cumsum(sizes)]) * envs

        def share(leaf: np.ndarray, index: int) -> np.ndarray:
            own = leaf[edges[index] : edges[index + 1]]
            return own.reshape(sizes[index], envs, *leaf.shape[1:])

        return [
            jax.tree.map(functools.partial(share, index=index), rows)
            for index in range(len(self._groups))
        ]


def _finish(function: Callable[[_Group], Carry], group: _Group) -> Carry:
    return jax.block_until_ready(function(group))


def _step_keys(seed: UInt32[Array, ""], envs: int, time: Int[Array, ""]) -> Any:
    fold = jax.random.fold_in
    return jax.vmap(lambda env: fold(fold(action_key(seed), env), time))(jnp.arange(envs))
