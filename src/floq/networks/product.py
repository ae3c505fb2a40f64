"""Matrix products in float32, or with factors rounded to bfloat16."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float

from floq.processor import rounds_fast

Precision = Literal["float32", "bfloat16", "fastest"]


def product(
    inputs: Float[Array, "*shape inputs"],
    kernel: Float[Array, "inputs outputs"],
    precision: Precision,
) -> Float[Array, "*shape outputs"]:
    """`inputs @ kernel`, with sums in float32. In bfloat16 it has no forward-mode derivative.

    Args:
        inputs: Rows.
        kernel: What they are multiplied with.
        precision: What the factors are rounded to, in the product and in its gradients; "fastest"
            is bfloat16 where the processor has units for it, and float32 elsewhere.
    """
    if precision == "fastest":
        precision = "bfloat16" if rounds_fast() else "float32"
    # By name, so that no other precision passes for one of the two.
    return {"float32": jnp.matmul, "bfloat16": _rounded_product}[precision](inputs, kernel)


@jax.custom_vjp
def _rounded_product(
    inputs: Float[Array, "*shape inputs"], kernel: Float[Array, "inputs outputs"]
) -> Float[Array, "*shape outputs"]:
    return _forward(inputs, kernel)[0]


def _forward(
    inputs: Float[Array, "*shape inputs"], kernel: Float[Array, "inputs outputs"]
) -> tuple[Float[Array, "*shape outputs"], tuple[BFloat16[Array, "..."], BFloat16[Array, "..."]]]:
    factors = _rounded(inputs), _rounded(kernel)
    return _sum_in_float32("...i,io->...o", *factors), factors


def _backward(
    factors: tuple[BFloat16[Array, "*shape inputs"], BFloat16[Array, "inputs outputs"]],
    gradient: Float[Array, "*shape outputs"],
) -> tuple[Float[Array, "*shape inputs"], Float[Array, "inputs outputs"]]:
    inputs, kernel = factors
    # JAX's own gradient would multiply a factor in float32 with one in bfloat16, on slow units.
    gradient_factor = _rounded(gradient)
    return (
        _sum_in_float32("...o,io->...i", gradient_factor, kernel),
        _sum_in_float32("...i,...o->io", inputs, gradient_factor),
    )


_rounded_product.defvjp(_forward, _backward)


def _rounded(values: Float[Array, "..."]) -> BFloat16[Array, "..."]:
    return values.astype(jnp.bfloat16)


def _sum_in_float32(
    axes: str, left: BFloat16[Array, "..."], right: BFloat16[Array, "..."]
) -> Float[Array, "..."]:
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)
