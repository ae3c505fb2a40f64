"""The programs of an exported policy: jax.export, ONNX and numpy."""

import importlib.metadata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.export
import numpy as np
import safetensors.numpy

from floq.export.architecture import architecture
from floq.export.decision import Decision, named_weights, program_of
from floq.extras import require_extra

Format = Literal["jax", "onnx", "numpy"]
FORMATS: tuple[Format, ...] = ("jax", "onnx", "numpy")


class Program(NamedTuple):
    """A policy's program and weights.

    Attributes:
        files: Their content by name.
        record: What `policy.json` says of them.
    """

    files: dict[str, bytes]
    record: dict[str, Any]


def to_jax(decision: Decision, observation_dim: int) -> Program:
    """A serialised program of jax for CPUs and CUDA and any batch, beside its weights."""
    weights = named_weights(decision.modules)
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = [(batch, observation_dim), *((batch, *one["shape"]) for one in decision.noise)]
    specs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    shaped = {name: jax.ShapeDtypeStruct(one.shape, one.dtype) for name, one in weights.items()}
    exporting = jax.export.export(jax.jit(program_of(decision)), platforms=("cpu", "cuda"))
    exported = exporting(shaped, *specs)
    files = {"program.jaxexport": bytes(exported.serialize()), **_weights(weights)}
    record = {
        "platforms": list(exported.platforms),
        "calling_convention": exported.calling_convention_version,
    }
    return Program(files, record)


def to_onnx(decision: Decision, observation_dim: int) -> Program:
    """An ONNX file with its weights, for any batch.

    Raises:
        MissingExtraError: If the extra `export` is not installed.
    """
    require_extra("export")
    import jax2onnx  # pyright: ignore[reportMissingImports]

    weights, program = named_weights(decision.modules), program_of(decision)
    shapes = [("batch", observation_dim), *(("batch", *one["shape"]) for one in decision.noise)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jax2onnx's own, about jax.
        model: Any = jax2onnx.to_onnx(
            lambda *inputs: program(weights, *inputs),
            shapes,
            model_name="floq policy",
            opset=_OPSET,
            input_names=["observations", *(one["name"] for one in decision.noise)],
            output_names=["actions"],
        )
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    record = {"opset": opset, "jax2onnx": importlib.metadata.version("jax2onnx")}
    return Program({"policy.onnx": model.SerializeToString()}, record)


def to_numpy(decision: Decision, observation_dim: int) -> Program:
    """One file of Python that needs numpy alone, beside the weights."""
    code = Path(__file__).with_name("floq_network.py").read_bytes()
    files = {"floq_network.py": code, **_weights(named_weights(decision.modules))}
    return Program(files, {"network": architecture(decision)})


def _weights(weights: dict[str, Any]) -> dict[str, bytes]:
    arrays = {name: np.asarray(array, np.float32, order="C") for name, array in weights.items()}
    return {"weights.safetensors": safetensors.numpy.save(arrays)}


_OPSET = 21
"""That of ONNX 1.16 and of onnxruntime from 1.18 on."""

WRITERS: dict[str, Callable[[Decision, int], Program]] = {
    "jax": to_jax,
    "onnx": to_onnx,
    "numpy": to_numpy,
}
