"""Files of rows that several checkpoints share, so that a save writes only what is new.

A shard holds the entries `first` to `last - 1` of a log that only ever grows. It never changes, and
a checkpoint's manifest names every shard that it needs, with size and SHA-256. Because one shard
serves many checkpoints, a flipped bit in it would damage them all: each is kept twice, and a
damaged copy is replaced by the intact one when it is read.
"""

import hashlib
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from floq.disk import read_bytes, replace_bytes

LARGEST_SHARD = 2**29
"""Bytes that are read of a shard at most; writers stay below."""
_NAME = re.compile(r"rows_\d{12,}_\d{12,}")
_COPIES = (".safetensors", ".copy.safetensors")


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was saved: bits flipped, files cut short or gone."""


class Shard(NamedTuple):
    """A shard as a manifest describes it.

    Attributes:
        name: Its file's name, without what tells the copies apart.
        fingerprint: Size and SHA-256 of each of its copies.
    """

    name: str
    fingerprint: dict[str, Any]


def fingerprint(content: bytes) -> dict[str, Any]:
    """Size and SHA-256 of a file, as manifests hold them."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_shard(folder: Path, first: int, last: int, arrays: dict[str, np.ndarray]) -> Shard:
    """Writes a shard; a crash leaves it out or whole."""
    folder.mkdir(parents=True, exist_ok=True)
    shard = Shard(f"rows_{first:012d}_{last:012d}", {})
    content = safetensors.numpy.save(arrays)
    for path in _paths(folder, shard.name):
        replace_bytes(path, content)
    return shard._replace(fingerprint=fingerprint(content))


def read_shard(folder: Path, shard: Shard) -> dict[str, np.ndarray]:
    """The arrays of a shard, verified; a copy that is damaged is reported and mended.

    Raises:
        DamagedCheckpointError: If no copy is what was saved.
    """
    if not _NAME.fullmatch(shard.name):
        raise DamagedCheckpointError(f"{shard.name!r} is no name of a shard.")
    good, bad = None, []
    for path in _paths(folder, shard.name):
        try:
            content = read_bytes(path, limit=LARGEST_SHARD)
        except (OSError, ValueError):
            content = None
        if content is not None and fingerprint(content) == shard.fingerprint:
            good = content
        else:
            bad.append(path)
    if good is None:
        raise DamagedCheckpointError(
            f"{' and '.join(map(str, bad))} are both not what was saved: put back a copy of one."
        )
    for path in bad:
        warnings.warn(
            f"{path} is not what was saved; its other copy is, and replaces it.",
            RuntimeWarning,
            stacklevel=2,
        )
        replace_bytes(path, good)
    try:
        return safetensors.numpy.load(good)
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedCheckpointError(f"{shard.name} cannot be read: {error}") from error


def remove_shards_except(folder: Path, names: Iterable[str]) -> None:
    """Removes the shards that nobody needs, and what a killed process was writing."""
    kept = {path for name in names for path in _paths(folder, name)}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in kept:
            path.unlink()


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{ending}" for ending in _COPIES]
