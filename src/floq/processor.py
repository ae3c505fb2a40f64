"""What depends on the processor: each choice in one place, as it was measured.

`docs/log/performance.md` has the measurements. What is chosen here changes the order in which
numbers are added up and how they round, so every choice follows from the kind of processor and from
the program, never from a timing: a run that is resumed computes what it would have computed.
"""

import contextlib
import contextvars
import functools
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

_IS_FOR_CPUS = contextvars.ContextVar("programs are for CPUs", default=False)
_WRITTEN_OUT = 8
"""Steps of a flow that are written out: more of them gain little and compile for longer."""

_LIBRARY_PRODUCT = 3e8
"""FLOPs of one product from which on XLA's library for products is faster than its own calls."""


def batches_products() -> bool:
    """Whether one batched matrix product is as fast as several: not on a CPU."""
    return jax.default_backend() != "cpu" and not _IS_FOR_CPUS.get()


@contextlib.contextmanager
def for_cpus() -> Iterator[None]:
    """Programs that are traced meanwhile are those of a CPU, whatever processor is here."""
    token = _IS_FOR_CPUS.set(True)
    try:
        yield
    finally:
        _IS_FOR_CPUS.reset(token)


def writes_out(steps: int) -> bool:
    """Whether the steps of a loop are better written out than run by a loop of the program."""
    return steps <= _WRITTEN_OUT


@functools.cache
def rounds_fast() -> bool:
    """Whether products of factors in bfloat16 are faster: where there are units for them."""
    if jax.default_backend() != "cpu":
        return True
    return bool({"avx512_bf16", "amx_bf16"} & _processor()[1])


def compiler_options(jaxpr: Any) -> dict[str, Any]:
    """How XLA is to compile the updates of a training.

    On a CPU alone, and only what the installed XLA knows.

    Args:
        jaxpr: The program of one update: its largest matrix product decides.
    """
    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, Any] = {}
    vendor, flags = _processor()
    if vendor == "AuthenticAMD" and "avx512f" in flags:
        # By default XLA keeps to half of the vectors' width, as older processors need.
        options["xla_cpu_prefer_vector_width"] = 512
    if max(_products(jaxpr), default=0) < _LIBRARY_PRODUCT:
        options["xla_cpu_experimental_ynn_fusion_type"] = ""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _products(jaxpr: Any) -> Iterator[float]:
    """FLOPs of every matrix product in a program, those within its loops and calls too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield product_flops(equation)
        for inner in inner_programs(equation.params):
            yield from _products(inner)


def product_flops(equation: Any) -> float:
    """FLOPs of a matrix product: 2nkm for shapes [n, k] and [k, m]."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    inner = 1.0
    for axis in contracted:
        inner *= left[axis]
    return 2.0 * equation.outvars[0].aval.size * inner


def inner_programs(parameters: Mapping[str, Any]) -> Iterator[Any]:
    """The bodies of an equation's calls, custom derivatives and loops."""
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else [value]:
            if hasattr(part, "jaxpr"):
                yield part.jaxpr
            elif hasattr(part, "eqns"):
                yield part


@functools.cache
def _processor() -> tuple[str, frozenset[str]]:
    """The vendor and the flags of the processor, as Linux names them; otherwise nothing."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "", frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", frozenset()
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields.get("vendor_id", ""), frozenset(fields.get("flags", "").split())
