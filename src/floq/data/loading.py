"""Data of files: all of it in memory, or streamed where it is larger."""

import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.dataset import Dataset
from floq.data.files import parts_of
from floq.data.formats import Source
from floq.data.formats.ogbench import training_files
from floq.data.memory import filled, observation_dtype, zeros
from floq.data.npz import available_memory, find_members
from floq.data.sharded import ShardedRows
from floq.data.streamed import Data, StreamedDataset

STREAMED = 1
"""A memory that no data fits into, for what is cut into parts already."""
GOALS_IN_MEMORY = (
    "goals are drawn from the rest of a trajectory and from all of the data, which no part holds: "
    "give data that fits into memory, or leave the goals out"
)
_FLOAT = 4
_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def load_rows(rows: ShardedRows, device_memory: str | int | None, *, in_memory: str = "") -> Data:
    """The data of files: all of it in memory, or streamed where it is more than that.

    Args:
        rows: The files.
        device_memory: What it may take on the device; "auto" for what fits, and None for all.
        in_memory: Why all of it must be in memory, if it must.

    Raises:
        ValueError: A fault of the data, with its field and first row, or of the size.
    """
    memory = _part_memory(rows, device_memory, in_memory)
    return whole(rows, in_memory) if memory is None else StreamedDataset.of(rows, memory)


def streamed_source(
    sources: Sequence[Source],
    device_memory: str | int | None,
    bounds: ActionBounds | None,
    *,
    in_memory: str = "",
) -> StreamedDataset | None:
    """Data of one's own, if it is to be streamed.

    Args:
        sources: Its sources.
        device_memory: What it may take on the device; "auto" for what fits, and None for all.
        bounds: What its actions lie within, if somebody has said.
        in_memory: Why all of it must be in memory, if it must.

    Raises:
        ValueError: It cannot be, a fault of the data, or of the size.
    """
    source = sources[0]
    can_be = len(sources) == 1 and source.format in ("npz", "ogbench")
    if device_memory is None:
        return None
    if device_memory == "auto" and (in_memory or not can_be or not _is_large(source.path)):
        return None
    if not can_be:
        raise ValueError(
            f"{', '.join(map(str, sources))}: data of this format is not streamed, which "
            "device_memory asks for: write it anew with `floq data convert`"
        )
    rows = ShardedRows.open(source.path)
    if bounds is not None and (rows.recorded is None or not bounds.equals(rows.recorded)):
        raise ValueError(
            f"{source.path}: it says that its actions lie within {rows.recorded or 'no bounds'}, "
            f"and {bounds} was given: leave the bounds out"
        )
    memory = _part_memory(rows, device_memory, in_memory)
    return None if memory is None else StreamedDataset.of(rows, memory)


def _is_large(path: Path) -> bool:
    """Whether what a file holds, or those of a folder, would take more than half of memory."""
    files = training_files(path)
    fields = (*(parts_of(files[0])["observations"] or ["observations"]), "actions")
    members = [one for file in files for one in find_members(file, required=fields).values()]
    return sum(member.nbytes for member in members) > free_memory() // 2


def _part_memory(rows: ShardedRows, device_memory: str | int | None, in_memory: str) -> int | None:
    """Bytes of a part of files' data; None where all of it is loaded.

    Raises:
        ValueError: If it must be in memory and is larger than it may be there.
    """
    if device_memory is None or (device_memory == "auto" and in_memory):
        return None
    if device_memory == "auto":
        free = free_memory()
        return None if nbytes(rows) <= free // 2 else free // 4
    limit = as_bytes(device_memory)
    if nbytes(rows) <= limit:
        return None
    if in_memory:
        raise ValueError(
            f"{rows.path}: device_memory is {device_memory}, and its data takes "
            f"{nbytes(rows) / 1e9:.3g} GB, so that it would be streamed; but {in_memory}. Leave "
            "device_memory out."
        )
    return limit


def free_memory() -> int:
    """Bytes that both the host and the device have free."""
    found = jax.local_devices()[0].memory_stats() or {}
    limit = found.get("bytes_limit", np.inf) - found.get("bytes_in_use", 0)
    return int(min(available_memory(), limit))


def whole(rows: ShardedRows, in_memory: str = "") -> Dataset:
    """All data of files, in memory.

    Args:
        rows: The files.
        in_memory: Why all of it must be in memory, if it must.

    Raises:
        ValueError: A fault of the data, with its field and first row, no transition at all, or more
            data than there is memory for.
    """
    if nbytes(rows) > available_memory():
        raise ValueError(
            f"{rows.path}: its data takes {nbytes(rows) / 1e9:.1f} GB, and this machine has "
            f"{available_memory() / 1e9:.1f} GB of memory free: "
            + (in_memory or "stream it, by --device-memory or device_memory=, such as 1GB")
        )
    count = rows.count
    observation_dim, action_dim = rows.widths
    states = {
        "observations": filled(
            (count, observation_dim), rows.pieces("observations"), observation_dtype(rows.form)
        ),
        "actions": filled((count, action_dim), rows.pieces("actions")),
    }
    is_end = np.concatenate([piece != 0 for piece in rows.pieces("terminals")])
    rewards, masks, first = zeros((count,)), zeros((count,)), 0
    for some, others in rows.labels():
        own = slice(first, first + len(some))
        rewards[own], masks[own], first = some, others, own.stop
    states |= {"rewards": rewards, "masks": masks}
    return Dataset.from_rows(
        **states, is_end=is_end, form=rows.form, recorded=rows.recorded, source=str(rows.path)
    )


def nbytes(rows: ShardedRows) -> int:
    """Bytes of all data in memory."""
    observation_dim, action_dim = rows.widths
    observation_bytes = observation_dim * observation_dtype(rows.form).itemsize
    return rows.count * (observation_bytes + _FLOAT * (action_dim + 3))


def as_bytes(memory: str | int) -> int:
    """A size in bytes, from one such as 8GB.

    Raises:
        ValueError: If it is none.
    """
    found = re.fullmatch(r"([0-9.]+) ?([kMGT]?B)", str(memory).strip())
    try:
        size = int(float(found[1]) * _UNITS[found[2]]) if found else int(memory)
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise ValueError(f"device_memory is {memory!r}: give a size such as 8GB or 500MB")
    return size
