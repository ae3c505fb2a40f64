"""The engine of both phases: the networks of every seed, in groups, and the programs over them."""

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
from floq.data.goal_dataset import GoalDataset
from floq.data.replay import Mixture, ReplayBuffer
from floq.data.streamed import Part
from floq.processor import batches_products
from floq.runs.checkpoint import Checkpoint
from floq.runs.states import action_key, seed_array
from floq.training.devices import SEEDS, DeviceGrid, SplitSource, device_grid
from floq.training.hosts import fetch
from floq.training.learner import Carry, Learner, Source
from floq.workers import available_cores


@dataclasses.dataclass
class _Group:
    """Seeds that run as one batch: all on an accelerator, one on a CPU.

    Attributes:
        seeds: Them, [group].
        carry: Their networks and sums of metrics, with a leading axis `group`.
        buffer: Their buffers, likewise; None offline.
        pending: Updates under way in another thread, which give the next carry.
    """

    seeds: UInt32[Array, " group"]
    carry: Carry
    buffer: ReplayBuffer | None
    pending: Future[Carry] | None = None


class _Programs(NamedTuple):
    """The compiled functions, each over a group's leading axis."""

    update: jax.stages.Wrapped
    add: Callable[..., ReplayBuffer]
    act: Callable[..., Array]
    act_at_random: Callable[..., Array]


@functools.lru_cache(maxsize=16)
def _compile(
    learner: Learner,
    online_share: float | None,
    grid: DeviceGrid | None,
    options: tuple[tuple[str, Any], ...],
) -> _Programs:
    """The functions, each of which is compiled when it first runs.

    The next training with the same settings and data of the same shape compiles nothing.
    """

    def update(
        carry: Carry,
        seed: UInt32[Array, ""],
        buffer: ReplayBuffer | None,
        bounds: Int[Array, "2"],
        dataset: Any,
    ) -> Carry:
        return learner.advance(carry, seed, bounds, _source(dataset, buffer, online_share))

    def act(
        state: Any,
        observations: Real[Array, "envs obs"],
        seed: UInt32[Array, ""],
        time: Int[Array, ""],
    ) -> Float[Array, "envs plan"]:
        keys = _step_keys(seed, len(observations), time)
        return learner.act(learner.config, state, observations, keys=keys)

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
        jax.jit(
            over_seeds(update, shared=2, on_devices=grid is not None),
            donate_argnums=0,
            out_shardings=None if grid is None else Carry(grid.by_seed, grid.everywhere),  # pyright: ignore[reportArgumentType]
            compiler_options=dict(options),
        ),
        jax.jit(over_seeds(ReplayBuffer.add, shared=0), donate_argnums=0),
        jax.jit(over_seeds(act, shared=1)),
        jax.jit(over_seeds(act_at_random, shared=1)),
    )


class SeedGroups:
    """Updates all seeds at once, and in an environment acts and takes in experience for them.

    As many groups run at a time as there are cores. Where there are no buffers, several devices
    share seeds and batches, as `floq.training.devices` says. Rows of observations and actions are
    ordered by seed, then by environment.
    """

    def __init__(
        self,
        learner: Learner,
        seeds: Sequence[int],
        state: Any,
        dataset: Dataset | GoalDataset | Part | None,
        *,
        buffers: Sequence[ReplayBuffer] = (),
        online_share: float | None = None,
        checkpoint: Checkpoint | None = None,
    ):
        """Prepares the programs; each is compiled when it first runs.

        Args:
            learner: The learning rule.
            seeds: The seeds.
            state: The algorithm's state, stacked over them.
            dataset: Data, or the first part of it, that all seeds draw from.
            buffers: The buffer of each seed, which it draws from too.
            online_share: See `Mixture`.
            checkpoint: Where the sums of the metrics go on; None starts them at 0.

        Raises:
            ValueError: If the checkpoint's metrics are not those of this algorithm, or several
                devices cannot share seeds and batches evenly.
        """
        self._grid = None if buffers else device_grid(len(seeds), learner.config.batch_size)
        source = _source(dataset, buffers[0] if buffers else None, online_share)
        carry, options = learner.start(state, source)
        if checkpoint is not None:
            carry = _with_sums(carry, checkpoint)
        self._programs = _compile(learner, online_share, self._grid, tuple(options.items()))
        self._groups: list[_Group] = []
        for own_seeds, own in self._split(carry, seed_array(seeds)):
            first = sum(len(group.seeds) for group in self._groups)
            shares = buffers[first : first + len(own_seeds)]
            buffer = jax.tree.map(lambda *leaves: jnp.stack(leaves), *shares) if shares else None
            self._groups.append(_Group(own_seeds, own, buffer))
        self._threads = ThreadPoolExecutor(available_cores()) if len(self._groups) > 1 else None
        self._compiled = False
        self.use(dataset)

    def _split(self, carry: Carry, seeds: UInt32[Array, " seeds"]) -> list[tuple[Array, Carry]]:
        """Each group's seeds and carry; there is one group over several devices."""
        if self._grid is None:
            return list(zip(split_seeds(seeds), split_seeds(carry), strict=True))
        place, by_seed = self._grid.place, self._grid.by_seed
        sums = place(carry.metric_sums, self._grid.everywhere)
        return [(place(seeds, by_seed), Carry(place(carry.state, by_seed), sums))]

    def use(self, dataset: Dataset | GoalDataset | Part | None) -> None:
        """Has the updates from now on draw from other data of the same shape.

        None lets go of the data, to make room for other data.
        """
        self._dataset: Any = dataset
        if self._grid is not None and dataset is not None:
            everywhere = self._grid.place(dataset, self._grid.everywhere)
            self._dataset = SplitSource(everywhere, self._grid)

    def act(self, observations: np.ndarray, time: int, *, at_random: bool) -> np.ndarray:
        """Plans for every row at step `time`, [rows, plan]: the policy's, or uniformly random.

        The key of a plan follows from the seed, the environment and the step alone.
        """
        self._wait()
        function = self._programs.act_at_random if at_random else self._programs.act
        plans = [
            function(group.carry.state, own, group.seeds, np.int32(time))
            for group, own in zip(self._groups, self._shares(observations), strict=True)
        ]
        return np.concatenate([np.asarray(plan).reshape(-1, plan.shape[-1]) for plan in plans])

    def add(self, experience: Experience) -> None:
        """Takes one step of every environment into the buffers."""
        self._wait()
        for group, own in zip(self._groups, self._shares(experience), strict=True):
            group.buffer = self._programs.add(group.buffer, own)

    def advance(self, first: int, last: int) -> None:
        """Starts the updates `first` to `last - 1` of every seed, which go on meanwhile."""
        if first == last:
            return
        self._wait()
        bounds, dataset = np.array([first, last], np.int32), self._dataset

        def advance_one(group: _Group) -> Carry:
            return self._programs.update(group.carry, group.seeds, group.buffer, bounds, dataset)

        for group in self._groups:
            # The first group ever goes alone: it is the one that compiles.
            if self._threads is None or not self._compiled:
                group.carry = advance_one(group)
                self._compiled = True
            else:
                finished = lambda group=group: jax.block_until_ready(advance_one(group))
                group.pending = self._threads.submit(finished)

    def _wait(self) -> None:
        """Waits for updates that other threads have under way."""
        for group in self._groups:
            if group.pending is not None:
                group.carry, group.pending = group.pending.result(), None

    def block(self) -> None:
        """Waits until no update is under way."""
        self._wait()
        jax.block_until_ready([group.carry for group in self._groups])

    def close(self) -> None:
        """Ends the threads."""
        if self._threads is not None:
            self._threads.shutdown()

    def start_window(self) -> None:
        """Sets the sums of the metrics to 0."""
        self._wait()
        for group in self._groups:
            sums = jax.tree.map(jnp.zeros_like, group.carry.metric_sums)
            group.carry = group.carry._replace(metric_sums=sums)

    @property
    def state(self) -> Any:
        """The algorithm's state, stacked over the seeds, on one device of this process."""
        self._wait()
        states = [group.carry.state for group in self._groups]
        if self._grid is None:
            return join_seeds(states)
        # Copied: the next updates overwrite the carry.
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), fetch(states[0]))

    def metric_sums(self) -> dict[str, np.ndarray]:
        """The sum of each metric since the last `start_window`, [seeds]."""
        self._wait()
        sums = jax.device_get([group.carry.metric_sums for group in self._groups])
        return {name: np.concatenate([own[name] for own in sums]) for name in sums[0]}

    def counts(self) -> dict[str, np.ndarray]:
        """What `ReplayBuffer.restore` needs beside the history, each [seeds, envs]."""
        self._wait()
        return {
            name: np.concatenate([getattr(group.buffer, name) for group in self._groups])
            for name in ("listed", "lowest", "highest")
        }

    def _shares(self, rows: Any) -> list[Any]:
        """Each group's share of arrays of rows, [group, envs, ...]."""
        sizes = [len(group.seeds) for group in self._groups]
        envs = len(jax.tree.leaves(rows)[0]) // sum(sizes)
        edges = np.concatenate([[0], np.cumsum(sizes)]) * envs

        def share(leaf: np.ndarray, index: int) -> np.ndarray:
            own = leaf[edges[index] : edges[index + 1]]
            return own.reshape(sizes[index], envs, *leaf.shape[1:])

        return [
            jax.tree.map(functools.partial(share, index=index), rows)
            for index in range(len(self._groups))
        ]


def _source(dataset: Any, buffer: ReplayBuffer | None, online_share: float | None) -> Source:
    return dataset if buffer is None else Mixture(dataset, buffer, online_share)


def _with_sums(carry: Carry, checkpoint: Checkpoint) -> Carry:
    """The carry with the checkpoint's sums of metrics.

    JSON holds them exactly: it spells out every bit of a float.
    """
    sums = checkpoint.details.get("metric_sums")
    if not isinstance(sums, dict) or sums.keys() != carry.metric_sums.keys():
        raise ValueError(
            f"{checkpoint.path} does not fit this run: it has other metrics "
            f"than {', '.join(carry.metric_sums)}. It was saved by another version of floq."
        )
    restored = {name: jnp.array(sums[name], jnp.float32) for name in carry.metric_sums}
    return Carry(carry.state, restored)


def _step_keys(seed: UInt32[Array, ""], envs: int, time: Int[Array, ""]) -> Any:
    fold = jax.random.fold_in
    return jax.vmap(lambda env: fold(fold(action_key(seed), env), time))(jnp.arange(envs))


def split_seeds(tree: Any) -> list[Any]:
    """New arrays of every group of seeds that run as one batch, from those of all, [seeds, ...].

    An accelerator has one group. A CPU is slow at batched matrix products, so there each seed is
    a group of its own.
    """
    if batches_products():
        return [jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)]
    # By numpy, and placed, which compiles no program for each shape.
    arrays = jax.tree.map(np.asarray, tree)
    return [
        jax.tree.map(
            lambda leaf, index=index: jax.device_put(leaf[index : index + 1], may_alias=False),
            arrays,
        )
        for index in range(len(jax.tree.leaves(arrays)[0]))
    ]


def join_seeds(groups: Sequence[Any]) -> Any:
    """The arrays of all seeds, from those of every group; its own where there is but one."""
    if len(groups) == 1:
        return groups[0]
    return jax.tree.map(lambda *leaves: jnp.array(np.concatenate(leaves)), *groups)


def over_seeds(
    function: Callable[..., Any], *, shared: int, on_devices: bool = False
) -> Callable[..., Any]:
    """A function of one seed's arrays as one of a group's; the last `shared` ones have no seeds.

    With `on_devices` the group's seeds lie over the rows of a `DeviceGrid`.
    """

    def lifted(*arguments: Any) -> Any:
        own = len(arguments) - shared
        if on_devices or batches_products():
            axes = (0,) * own + (None,) * shared
            name = SEEDS if on_devices else None
            return jax.vmap(function, axes, spmd_axis_name=name)(*arguments)
        single = jax.tree.map(lambda leaf: leaf[0], arguments[:own])
        result = function(*single, *arguments[own:])
        return jax.tree.map(lambda leaf: leaf[None], result)

    return lifted
