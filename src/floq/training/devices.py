"""One run over many devices: what each of them holds and computes.

The devices form a grid, seeds × batch. Seeds need nothing of each other, so as many rows as divide
both the devices and the seeds go to the seeds; along a row the batch is split. Of S seeds on D
devices each device trains S / gcd(S, D), on batch · gcd(S, D) / D transitions of every batch.

A device holds its own seeds' networks and the whole dataset. It draws its share of a batch and of
the random numbers, which are those that one device would draw; XLA sums the gradients along a row.
So the mathematics is that of one device, and only the order of the sums differs.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from floq.data.dataset import Dataset
from floq.data.goal_dataset import GoalDataset
from floq.data.streamed import Part
from floq.observations import ObservationForm
from floq.types import Batch

SEEDS, BATCH = "seeds", "batch"
"""Names of the grid's axes."""


@dataclasses.dataclass(frozen=True)
class DeviceGrid:
    """Two or more devices, of this process or of several.

    Attributes:
        mesh: Them, with the axes `SEEDS` and `BATCH`.
    """

    mesh: Mesh

    @property
    def by_seed(self) -> NamedSharding:
        """Arrays with a leading axis of seeds: each row of the grid has its own."""
        return NamedSharding(self.mesh, PartitionSpec(SEEDS))

    @property
    def everywhere(self) -> NamedSharding:
        """Arrays that every device has in full."""
        return NamedSharding(self.mesh, PartitionSpec())

    def place(self, tree: Any, sharding: NamedSharding) -> Any:
        """Copies arrays, which every process has in full, to the devices."""

        def copy(leaf: Any) -> Array:
            host = np.asarray(leaf)
            # An update overwrites what it is given, so no two devices may share memory.
            return jax.make_array_from_callback(
                host.shape, sharding, lambda index: np.array(host[index])
            )

        return jax.tree.map(copy, tree)

    def split(self, batch: Batch) -> Batch:
        """The batch of one seed, inside a compiled program: each device of a row has a share."""
        return jax.lax.with_sharding_constraint(
            batch, NamedSharding(self.mesh, PartitionSpec(BATCH))
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SplitSource:
    """A dataset whose batches come split over the devices.

    Attributes:
        dataset: The data, or a part of it, on every device.
        grid: The devices.
    """

    dataset: Dataset | GoalDataset | Part
    grid: DeviceGrid = dataclasses.field(metadata={"static": True})

    @property
    def form(self) -> ObservationForm | None:
        """What the bytes of an observation are; None of vectors."""
        return self.dataset.form

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """What the dataset draws, of which each device draws its share alone."""
        return self.grid.split(self.dataset.sample(batch_size, key=key))


def device_grid(seeds: int, batch_size: int) -> DeviceGrid | None:
    """All devices that jax sees, or None if there is but one.

    Args:
        seeds: Number of seeds.
        batch_size: Transitions in a batch of each.

    Raises:
        ValueError: If they cannot be split evenly over the devices.
    """
    devices = jax.devices()
    if len(devices) == 1:
        return None
    shape = grid_shape(len(devices), seeds=seeds, batch_size=batch_size)
    axes = (AxisType.Auto, AxisType.Auto)
    return DeviceGrid(Mesh(np.array(devices).reshape(shape), (SEEDS, BATCH), axis_types=axes))


def grid_shape(devices: int, *, seeds: int, batch_size: int) -> tuple[int, int]:
    """Rows of the grid, over which seeds are divided, and devices in a row, over which batches are.

    Raises:
        ValueError: If a batch does not divide evenly.
    """
    rows = math.gcd(devices, seeds)
    shares = devices // rows
    if batch_size % shares:
        raise ValueError(
            f"batch_size is {batch_size}, which {shares} devices cannot share evenly: jax sees "
            f"{devices} devices, and {seeds} seeds take {rows} x {shares} of them. Give a "
            f"batch_size that is a multiple of {shares}, a number of seeds that is a multiple of "
            f"{devices}, or let jax see fewer devices (CUDA_VISIBLE_DEVICES=0 shows one GPU)."
        )
    return rows, shares
