"""The programs of an exported policy: jax.export, ONNX and numpy."""

import importlib.metadata
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.export
import numpy as np
import safetensors.numpy

from floq.export.architecture import architecture
from floq.export.decision import Decision, program_of
from floq.export.floq_policy import blank, parts
from floq.networks.modules import named_leaves
from floq.processor import for_cpus

Format = Literal["jax", "onnx", "numpy"]


class Program(NamedTuple):
    """A policy's program and weights.

    Attributes:
        files: Their content by name.
        record: What `policy.json` says of them.
    """

    files: dict[str, bytes]
    record: dict[str, Any]


def to_jax(decision: Decision, record: dict[str, Any]) -> Program:
    """A serialised program of jax for CPUs and CUDA and any batch, beside its weights."""
    weights = named_leaves(decision.modules)
    (batch,) = jax.export.symbolic_shape("batch")
    specs = [jax.ShapeDtypeStruct((batch, *shape), dtype) for _, shape, dtype in _inputs(record)]
    shaped = {name: jax.ShapeDtypeStruct(one.shape, one.dtype) for name, one in weights.items()}
    exporting = jax.export.export(jax.jit(program_of(decision)), platforms=("cpu", "cuda"))
    exported = exporting(shaped, *specs)
    files = {"program.jaxexport": bytes(exported.serialize()), **_weights(weights)}
    described = {
        "platforms": list(exported.platforms),
        "calling_convention": exported.calling_convention_version,
    }
    return Program(files, described)


def to_onnx(decision: Decision, record: dict[str, Any]) -> Program:
    """An ONNX file with its weights, for any batch; it needs the extra `export`."""
    import jax2onnx  # pyright: ignore[reportMissingImports]

    weights, program = named_leaves(decision.modules), program_of(decision)
    inputs = _inputs(record)
    # It has no form that runs of the pooling of accelerators; its warnings are about jax, and
    # about shapes of its own that have no type.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    with warnings.catch_warnings(), for_cpus():
        warnings.simplefilter("ignore")
        model: Any = jax2onnx.to_onnx(
            lambda *inputs: program(weights, *inputs),
            [jax.ShapeDtypeStruct(("batch", *shape), dtype) for _, shape, dtype in inputs],
            model_name="floq policy",
            opset=_OPSET,
            input_names=[name for name, *_ in inputs],
            output_names=["actions"],
        )
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    described = {"opset": opset, "jax2onnx": importlib.metadata.version("jax2onnx")}
    return Program({"policy.onnx": model.SerializeToString()}, described)


def to_numpy(decision: Decision, record: dict[str, Any]) -> Program:
    """One file of Python that needs numpy alone, beside the weights.

    Raises:
        ValueError: If it does not know one of the networks.
    """
    code = Path(__file__).with_name("floq_network.py").read_bytes()
    files = {"floq_network.py": code, **_weights(named_leaves(decision.modules))}
    return Program(files, {"network": architecture(decision)})


def _inputs(record: dict[str, Any]) -> list[tuple[str, tuple[int, ...], Any]]:
    """Name, shape and dtype of what a program reads of each row: an observation's arrays, noise."""
    arrays = zip(parts(record), blank(record, 1), strict=True)
    seen = [(f"observations/{name}".rstrip("/"), one.shape[1:], one.dtype) for name, one in arrays]
    return seen + [(one["name"], tuple(one["shape"]), np.float32) for one in record["noise"]]


def _weights(weights: dict[str, Any]) -> dict[str, bytes]:
    arrays = {name: np.asarray(array, np.float32, order="C") for name, array in weights.items()}
    return {"weights.safetensors": safetensors.numpy.save(arrays)}


_OPSET = 21
"""That of ONNX 1.16 and of onnxruntime from 1.18 on."""

WRITERS: dict[Format, Callable[[Decision, dict[str, Any]], Program]] = {
    "jax": to_jax,
    "onnx": to_onnx,
    "numpy": to_numpy,
}
