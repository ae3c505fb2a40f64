"""Choices that follow from the processor and the program, and never from a timing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq import processor
from floq.networks.mlp import Dense
from floq.processor import compiler_options, rounds_fast

WIDE, LIBRARY = "xla_cpu_prefer_vector_width", "xla_cpu_experimental_ynn_fusion_type"


@pytest.fixture
def machine(monkeypatch):
    """Sets the vendor and the flags of the processor."""

    def be(vendor, *flags):
        monkeypatch.setattr(processor, "_processor", lambda: (vendor, frozenset(flags)))
        rounds_fast.cache_clear()

    yield be
    rounds_fast.cache_clear()


def program(rows, width):
    """A product of [rows, width] and [width, width] within a loop within a call."""

    def products(left, right):
        return jax.lax.fori_loop(0, 3, lambda _, value: value @ right, left)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows, width), (width, width))]
    return jax.make_jaxpr(jax.jit(products))(*shapes).jaxpr


def test_vectors_are_wide_where_that_was_measured(machine):
    """AMD's processors with AVX-512 use the whole of their vectors; no other one does."""
    machine("AuthenticAMD", "avx2", "avx512f")
    assert compiler_options(program(8, 8))[WIDE] == 512
    for vendor, flag in (("AuthenticAMD", "avx2"), ("GenuineIntel", "avx512f"), ("", "")):
        machine(vendor, flag)
        assert WIDE not in compiler_options(program(8, 8))


def test_the_largest_product_decides_how_products_are_made(machine):
    """XLA's library makes the paper's products, 2,048 rows of 512, and no smaller ones."""
    machine("", "")
    assert LIBRARY not in compiler_options(program(2048, 512))
    assert compiler_options(program(512, 128)) == {LIBRARY: ""}


def test_options_compile():
    """The options that this processor gets are known to the installed XLA and change no result."""
    left = jax.random.normal(jax.random.key(0), (64, 32))
    options = compiler_options(jax.make_jaxpr(lambda x: jnp.tanh(x) @ x.T)(left).jaxpr)
    compiled = jax.jit(lambda x: jnp.tanh(x) @ x.T, compiler_options=options)(left)
    np.testing.assert_allclose(compiled, jnp.tanh(left) @ left.T, rtol=1e-5, atol=1e-5)


def test_an_option_that_xla_does_not_know_is_left_out():
    """So that other versions of XLA compile all the same."""
    assert not processor._is_known("xla_cpu_no_such_option", 1)


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "avx2"])
def test_the_fastest_precision_rounds_where_there_are_units_for_it(machine, flag):
    """A layer of the fastest precision is one in bfloat16 or one in float32, bit for bit."""
    machine("", flag)
    expected = "float32" if flag == "avx2" else "bfloat16"
    inputs = jax.random.normal(jax.random.key(0), (16, 32))
    fastest, plain = (
        Dense(32, 8, precision=precision, key=jax.random.key(1))(inputs)
        for precision in ("fastest", expected)
    )
    np.testing.assert_array_equal(fastest, plain)


def test_processor_of_this_machine_is_read():
    """Whatever it is, a vendor comes with flags."""
    vendor, flags = processor._processor()
    assert bool(vendor) == bool(flags)
