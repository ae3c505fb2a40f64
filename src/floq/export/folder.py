"""The folder of an exported policy: program, weights, `policy.json`, a manifest and a card."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from floq.disk import sync_path, user_path, writable, write_bytes, writing
from floq.export.card import card
from floq.export.decision import (
    Decision,
    decision_of,
    in_float32,
    normalizing,
    program_of,
    reading_arrays,
)
from floq.export.floq_policy import (
    Policy,
    blank,
    check_seed,
    draw_noise,
    fingerprint,
    load_policy,
    manifest,
    parts,
)
from floq.export.formats import WRITERS, Format
from floq.extras import require_extra
from floq.networks.modules import named_leaves
from floq.observations import Normalization, ObservationForm, nested
from floq.types import Algorithm, Statistics

_CHECKED, _SERVED, _TOLERANCE = 256, 16, 1e-5
"""Observations that an exported program is compared on, and one that is served at once, which is
not written down; how far apart actions may be."""
_SCALES = "nothing is normalised", "the program subtracts the mean and divides by the deviation"


class Trained(NamedTuple):
    """A policy and what is known of it.

    Attributes:
        algorithm: The learning rule.
        name: Its name.
        config: Its settings.
        state: One seed's state.
        statistics: Shapes of observations and decisions.
        low: What -1 stands for in the environment's units, for each entry of an action.
        high: What 1 stands for.
        facts: What else `policy.json` says: the run, its figures, versions.
        normalization: How the program normalises observations; None leaves them as they are.
    """

    algorithm: Algorithm
    name: str
    config: Any
    state: Any
    statistics: Statistics
    low: Sequence[float]
    high: Sequence[float]
    facts: dict[str, Any]
    normalization: Normalization | None = None


class _Checked(NamedTuple):
    """A decision that was held against how the algorithm acts.

    Attributes:
        decision: It.
        precision: What `policy.json` says of its precision.
        inputs: The arrays and the noise that it was compared on.
        actions: What it decided there, [rows, act].
    """

    decision: Decision
    precision: dict[str, Any]
    inputs: list[Any]
    actions: np.ndarray


def export_policy(trained: Trained, directory: str | Path, *, format: Format = "jax") -> Path:
    """Writes the folder of a policy, whole or not at all, after its program was checked.

    Args:
        trained: The policy.
        directory: A folder that does not exist yet, or is empty.
        format: "jax", "onnx" or "numpy".

    Returns:
        The folder.

    Raises:
        FileExistsError: If there is something in the folder.
        MissingExtraError: If the format needs an extra that is not installed.
        ValueError: If the policy cannot be exported, or its program differs from it by more than
            1e-5 on 256 observations.
    """
    folder = new_folder(directory)
    if format not in WRITERS:
        raise ValueError(f"format is {format!r}: give {', '.join(WRITERS)}.")
    if format == "onnx":
        require_extra("export")
    checked = _checked(trained, _CHECKED)
    described = _record(trained, checked.decision)
    program = WRITERS[format](checked.decision, described)
    record = {**described, "program": format, **checked.precision, **program.record}
    code = Path(__file__).with_name("floq_policy.py").read_bytes()
    files = {**program.files, "floq_policy.py": code}
    partial = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(folder):
            partial.mkdir(parents=True)
        _write(partial, files, record)
        record["check"] = {"observations": len(checked.actions), "tolerance": _TOLERANCE}
        record["check"]["largest_difference"] = _difference(partial, checked)
        _write(partial, files, record)
        sync_path(partial)
        with writing(folder):
            partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_path(folder.parent)
    return folder


def new_folder(directory: str | Path) -> Path:
    """The folder, if an export can be written there.

    Raises:
        FileExistsError: If there is something in it, or it is a file.
        OSError: If it cannot be written.
    """
    folder = user_path(directory, "directory")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: give another folder, or remove it.")
    return writable(folder)


def in_memory(trained: Trained, *, seed: int = 0) -> Policy:
    """The policy as an exported one of jax acts, without a folder."""
    seed = check_seed(seed)
    decision, precision, *_ = _checked(trained, _SERVED)
    program, weights = jax.jit(program_of(decision)), named_leaves(decision.modules)
    record = {**_record(trained, decision), "program": "jax", **precision}
    return Policy(record, lambda *inputs: program(weights, *inputs), seed)


def _checked(trained: Trained, count: int) -> _Checked:
    """How the policy decides, which is held against how it acts on `count` observations.

    Raises:
        ValueError: If it does not act by one of the library's policies.
    """
    parameters = getattr(trained.state, "parameters", None)
    decision, form = decision_of(trained.config, parameters), trained.statistics.observations
    refusal = (
        f"algorithm {trained.name!r} acts in a way of its own, which cannot be exported: its state "
        "needs `parameters` with a `policy` of floq's, by which alone, or with `candidates` and a "
        "`critic` of floq's, it acts."
    )
    if decision is None:
        raise ValueError(refusal)
    if form is not None:
        decision = reading_arrays(decision)
    elif trained.normalization is not None:
        decision = normalizing(decision, trained.normalization)
    rows, arrays = _like_data(_record(trained, decision), form, count)
    keys = jax.random.split(jax.random.key(0), count)
    inputs = [*arrays, *decision.draw(keys)]
    act, config = trained.algorithm.act, trained.config
    # Rows are an input: of constants XLA would compute what it can while it compiles.
    acted = jax.jit(lambda state, seen: act(config, state, seen, keys=keys))(trained.state, rows)
    weights = named_leaves(decision.modules)

    def decided(one: Decision) -> np.ndarray:
        return np.asarray(jax.jit(program_of(one))(weights, *inputs))

    actions = decided(decision)
    if not _close(actions, np.asarray(acted)):
        raise ValueError(refusal)
    exact = decision._replace(modules=in_float32(decision.modules))
    if jax.tree.structure(exact.modules) == jax.tree.structure(decision.modules):
        return _Checked(decision, {"precision": "float32"}, inputs, actions)
    wanted = decided(exact)
    difference = float(np.median(np.abs(wanted - actions)))
    precision = {
        "precision": "float32",
        "trained_precision": {"products": "bfloat16", "median_difference": difference},
    }
    return _Checked(exact, precision, inputs, wanted)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether actions are equal, but for single ones whose choice among candidates is a tie."""
    apart = np.abs(one - other).max(axis=-1) > _TOLERANCE
    return int(apart.sum()) <= max(1, len(apart) // 100)


def _difference(folder: Path, checked: _Checked) -> float:
    """The largest difference of the folder's program from the policy, batch by batch and alone.

    Where the policy chooses among candidates, single choices that rounding decides are left out.

    Raises:
        ValueError: If it is too large.
    """
    policy, wanted = load_policy(folder), checked.actions
    inputs = [np.asarray(one) for one in checked.inputs]
    drawn = draw_noise(policy.record, len(wanted), [0, 0, 0])
    # Who acts by the folder alone draws what its record says.
    assert [one.shape for one in drawn] == [one.shape for one in inputs[len(inputs) - len(drawn) :]]
    found = np.asarray(policy.program(*inputs))
    first = np.asarray(policy.program(*(one[:1] for one in inputs)))
    apart = np.abs(np.concatenate([found, first]) - np.concatenate([wanted, wanted[:1]])).max(-1)
    if policy.record["candidates"] and _close(found, wanted):
        apart = apart[apart <= _TOLERANCE]
    difference = float(apart.max())
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"the {policy.record['program']} program differs from the policy by {difference:.2g} "
            f"on {len(wanted)} observations, more than {_TOLERANCE:g}: it was not written. Export "
            "with --format jax, and please report this."
        )
    return difference


def _like_data(
    record: dict[str, Any], form: ObservationForm | None, count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Observations to check a program on: rows as in training, and the arrays that it reads.

    Vectors are normal, as far apart as the data's if that is known, and images noise.
    """
    random, known = np.random.default_rng(0), record["observations"]["normalization"] or {}
    scales, repeats = ({"": known}, 1) if form is None else (known, form.frames)

    def drawn(name: str, like: np.ndarray) -> np.ndarray:
        if like.dtype == np.uint8:
            return random.integers(0, 256, like.shape, np.uint8)
        values = random.normal(size=like.shape)
        if scale := scales.get(name):
            mean, deviation = (np.tile(scale[one], repeats) for one in ("mean", "deviation"))
            values = mean + deviation * values
        return values.astype(np.float32)

    arrays = [drawn(*one) for one in zip(parts(record), blank(record, count), strict=True)]
    if form is None:
        return arrays[0], arrays
    frames = zip(*(np.split(one, form.frames, axis=-1) for one in arrays), strict=True)
    return np.concatenate([as_rows(record, form, one) for one in frames], axis=1), arrays


def as_rows(
    record: dict[str, Any], form: ObservationForm | None, arrays: Sequence[np.ndarray]
) -> np.ndarray:
    """The arrays of observations as the rows that a policy in training reads, [batch, obs]."""
    if form is None:
        return arrays[0]
    return form.pack(nested(dict(zip(parts(record), arrays, strict=True))), axes=1)


def _record(trained: Trained, decision: Decision) -> dict[str, Any]:
    """What `policy.json` says of any program."""
    chunk = trained.config.action_chunk
    candidates = getattr(trained.config, "candidates", 0)
    normalization, form = trained.normalization, trained.statistics.observations
    scales = normalization and normalization._asdict()
    if normalization is not None and form is not None:
        scales = {name: one._asdict() for name, one in form.split(normalization).items()}
    return {
        "format": 1,
        "algorithm": trained.name,
        "policy": decision.kind,
        "observations": {
            **seen_by(trained.statistics),
            "low": None,
            "high": None,
            "units": f"those of the environment and the data; {_SCALES[normalization is not None]}",
            "normalization": scales,
        },
        "actions": {
            "shape": [len(trained.low)],
            "dtype": "float32",
            "low": list(trained.low),
            "high": list(trained.high),
            "units": "those of the environment: low + (a + 1) (high - low) / 2 of the program's a",
        },
        "chunk": chunk,
        "candidates": candidates,
        "noise": list(decision.noise),
        **trained.facts,
    }


def seen_by(statistics: Statistics) -> dict[str, Any]:
    """The arrays of an observation, as `policy.json` says them."""
    form = statistics.observations
    if form is None:
        return {"shape": [statistics.observation_dim], "dtype": "float32"}
    found = {part.name: {"shape": list(part.shape), "dtype": part.dtype} for part in form.parts}
    return {**found.get("", {"parts": found}), "frames": form.frames}


def _write(folder: Path, files: dict[str, bytes], record: dict[str, Any]) -> None:
    """Writes all files of a policy, and waits until the disk has them."""
    described = (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()
    read = {**files, "policy.json": described}
    listed = manifest({name: fingerprint(content) for name, content in read.items()})
    shown = {"manifest.json": listed, "README.md": card(record).encode()}
    for name, content in (read | shown).items():
        write_bytes(folder / name, content)
