"""Checkpoints: a pytree of arrays and a few numbers, safe against kills and bit flips.

A checkpoint is a folder `step_000020000` with

- `state.safetensors`: the arrays, named by their path in the pytree;
- `state.json`: the step, the shapes and dtypes of the arrays, and `details`;
- `extra.safetensors`, if there are any: arrays whose shapes differ from save to save;
- `manifest.json`: size and SHA-256 of these, and of the shards (see `floq.runs.shards`) in the
  folder `rows` beside the checkpoints that this one needs.

It is written under another name, flushed to the disk and then renamed: one that has its name is
whole, and what happens to it later is found by its manifest. Nothing is ever unpickled.
"""

import json
import math
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from floq.disk import JSON_BYTES, json_bytes, read_bytes, read_json, sync_path, write_bytes, writing
from floq.networks.modules import named_leaves
from floq.runs.shards import (
    DamagedCheckpointError,
    Shard,
    fingerprint,
    read_shard,
    remove_shards_except,
)

_FORMAT = 1
_NAME = re.compile(r"step_(\d{9,})")
_STATE, _DETAILS, _MANIFEST = "state.safetensors", "state.json", "manifest.json"
_EXTRA = "extra.safetensors"
_LARGEST_EXTRA = 2**28
_ROWS = "rows"


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        path: Its folder.
        step: Updates that led to it.
        state: The pytree of arrays.
        details: What was saved beside the state, as JSON gives it back.
        extra: Arrays that were saved beside it.
        shards: The shards that it needs.
        rows: Their arrays, in the same order; empty if they were not asked for.
    """

    path: Path
    step: int
    state: Any
    details: dict[str, Any]
    extra: dict[str, np.ndarray]
    shards: tuple[Shard, ...]
    rows: tuple[dict[str, np.ndarray], ...]

    @property
    def is_online(self) -> bool:
        """Whether it was saved while training in the environment."""
        return "online" in self.details


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in paths if _NAME.fullmatch(path.name)), key=step_of)


def rows_folder(folder: Path) -> Path:
    """Where the shards of a run's checkpoints lie."""
    return folder / _ROWS


def save_checkpoint(
    folder: Path,
    step: int,
    state: Any,
    *,
    details: dict[str, Any],
    keep: int,
    extra: dict[str, np.ndarray] | None = None,
    shards: Sequence[Shard] = (),
) -> Path:
    """Saves a checkpoint, then removes all but the last `keep`, and the shards of none of these.

    A crash at any moment leaves the earlier checkpoints as they were.

    Args:
        folder: Where the checkpoints of a run lie.
        step: Updates that led to the state.
        state: A pytree of arrays; its path names must be distinct.
        details: JSON-able values to save beside it.
        keep: Checkpoints to keep, 2 or more: the last one may get damaged.
        extra: Arrays of any shapes to save beside it.
        shards: The shards, already written, that the checkpoint needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean_up(folder)
    path = folder / f"step_{step:09d}"
    partial = path.with_suffix(".tmp")
    partial.mkdir()
    try:
        contents = _encode(step, state, details, extra or {}, shards)
        for name, content in contents.items():
            write_bytes(partial / name, content)
        sync_path(partial)
        with writing(path):
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_path(folder)
    for old in checkpoint_paths(folder)[:-keep]:
        # Renamed first: a crash must not leave half a checkpoint under a checkpoint's name.
        shutil.rmtree(old.rename(old.with_suffix(".tmp")))
    _remove_unneeded_shards(folder)
    return path


def _remove_unneeded_shards(folder: Path) -> None:
    names: set[str] = set()
    for path in checkpoint_paths(folder):
        try:
            names.update(shard.name for shard in _manifest(path)[1])
        except (OSError, ValueError):
            return  # It may need any of them.
    remove_shards_except(rows_folder(folder), names)


def clean_up(folder: Path) -> None:
    """Removes what a killed process was writing or deleting."""
    for leftover in folder.glob("step_*.tmp"):
        shutil.rmtree(leftover)


def load_checkpoint(path: Path, template: Any, *, with_rows: bool = False) -> Checkpoint:
    """Reads a checkpoint, after verifying every byte of it.

    Args:
        path: The checkpoint's folder.
        template: A pytree of the expected structure, whose leaves have a shape and a dtype, such
            as `jax.eval_shape` gives.
        with_rows: Whether its shards are verified and read too.

    Raises:
        DamagedCheckpointError: If the files are not those that were saved.
        ValueError: If they are, but do not fit the template.
    """
    try:
        contents, shards = _verified_contents(path, _largest_state(template))
    except (OSError, ValueError) as error:
        raise DamagedCheckpointError(f"{path}: {error}") from error
    try:
        record = json.loads(contents[_DETAILS])
        arrays = _decode(contents[_STATE], record["arrays"])
        extra = safetensors.numpy.load(contents[_EXTRA]) if _EXTRA in contents else {}
        step, details = record["step"], record["details"]
        if (record["format"], step, type(details)) != (_FORMAT, step_of(path), dict):
            raise ValueError(f"format {record['format']}, step {step} in a folder of another name")
    except (
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        safetensors.SafetensorError,
    ) as error:
        raise DamagedCheckpointError(f"{path} cannot be read: {error}") from error
    rows = [read_shard(rows_folder(path.parent), shard) for shard in shards if with_rows]
    state = _fit(path, arrays, template)
    return Checkpoint(path, step, state, details, extra, shards, tuple(rows))


def newest_checkpoint(folder: Path, template: Any, *, with_rows: bool = False) -> Checkpoint | None:
    """The last checkpoint that is intact, or None if none was ever saved.

    Each damaged one that is passed over is reported by a warning.

    Raises:
        RuntimeError: If there are checkpoints but all are damaged.
        ValueError: If an intact one does not fit the template.
    """
    paths = checkpoint_paths(folder)
    for path in reversed(paths):
        try:
            return load_checkpoint(path, template, with_rows=with_rows)
        except DamagedCheckpointError as error:
            warnings.warn(f"Damaged checkpoint passed over: {error}", RuntimeWarning, stacklevel=2)
    if paths:
        raise RuntimeError(
            f"All {len(paths)} checkpoints in {folder} are damaged: put back a copy of one, or "
            "train again in another directory."
        )
    return None


def set_aside_after(checkpoint: Checkpoint) -> None:
    """Renames the damaged checkpoints after an intact one: new ones will take their names."""
    for path in checkpoint_paths(checkpoint.path.parent):
        if step_of(path) > checkpoint.step:
            aside = path.with_name(f"damaged_{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def step_of(path: Path) -> int:
    """The step of a checkpoint, from its folder's name.

    Raises:
        ValueError: If that is not the name of one.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is not a checkpoint: its name must be like step_000020000.")
    return int(match[1])


def _encode(
    step: int,
    state: Any,
    details: dict[str, Any],
    extra: dict[str, np.ndarray],
    shards: Sequence[Shard],
) -> dict[str, bytes]:
    """The bytes of each file."""
    # safetensors writes the memory as it lies, so the order of the axes must be C's.
    arrays = {
        name: np.asarray(jax.device_get(leaf), order="C")
        for name, leaf in named_leaves(state).items()
    }
    record = {
        "format": _FORMAT,
        "step": step,
        "arrays": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in arrays.items()
        },
        "details": details,
    }
    contents = {_STATE: safetensors.numpy.save(arrays), _DETAILS: json_bytes(record)}
    if extra:
        contents[_EXTRA] = safetensors.numpy.save(extra)
    manifest: dict[str, Any] = {"format": _FORMAT, "files": _fingerprints(contents)}
    if shards:
        manifest["shards"] = {shard.name: shard.fingerprint for shard in shards}
    return {**contents, _MANIFEST: json_bytes(manifest)}


def _decode(content: bytes, described: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of the bytes, with the dtypes of the details: safetensors' own lack bfloat16."""
    return {
        name: np.frombuffer(entry["data"], described[name]["dtype"]).reshape(entry["shape"])
        for name, entry in safetensors.deserialize(content)
    }


def _fingerprints(contents: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: fingerprint(content) for name, content in contents.items()}


def _manifest(path: Path) -> tuple[dict[str, Any], tuple[Shard, ...]]:
    """The files that a manifest names, and the shards.

    Raises:
        OSError, ValueError: If it cannot be read, or is none.
    """
    manifest = read_json(path / _MANIFEST)
    shards = manifest.pop("shards", {}) if isinstance(manifest, dict) else None
    if (
        not isinstance(shards, dict)
        or manifest.keys() != {"format", "files"}
        or manifest["format"] != _FORMAT
        or not isinstance(manifest["files"], dict)
        or manifest["files"].keys() - {_EXTRA} != {_STATE, _DETAILS}
    ):
        raise ValueError(f"{_MANIFEST} does not say what was saved.")
    return manifest["files"], tuple(Shard(*item) for item in shards.items())


def _largest_state(template: Any) -> int:
    """Bytes that the arrays of a run can take, with room for those of a run much larger.

    An intact checkpoint of other settings shall be told from one that would fill the memory.
    """
    expected = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(template)
    )
    return 4 * expected + 2**28


def _verified_contents(
    path: Path, largest_state: int
) -> tuple[dict[str, bytes], tuple[Shard, ...]]:
    """The bytes of the files, equal to what the manifest says of them, and its shards.

    Raises:
        OSError, ValueError: If they are not, or cannot be read.
    """
    files, shards = _manifest(path)
    limits = {_STATE: largest_state, _DETAILS: JSON_BYTES, _EXTRA: _LARGEST_EXTRA}
    contents = {name: read_bytes(path / name, limit=limits[name]) for name in files}
    found = _fingerprints(contents)
    wrong = [name for name in files if files[name] != found[name]]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} is not what {_MANIFEST} says was saved.")
    return contents, shards


def _fit(path: Path, arrays: dict[str, np.ndarray], template: Any) -> Any:
    """The arrays in the template's structure."""
    expected = named_leaves(template)
    for name in expected.keys() | arrays.keys():
        have = _describe(arrays[name]) if name in arrays else "absent"
        want = _describe(expected[name]) if name in expected else "absent"
        if have != want:
            raise ValueError(
                f"{path} does not fit this run: array {name} is {have} in the checkpoint and "
                f"{want} in the run. It was saved with other settings or another version of floq."
            )
    # Copied: the device may otherwise share, and later overwrite, numpy's memory.
    leaves = [jnp.array(arrays[name], copy=True) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _describe(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"
