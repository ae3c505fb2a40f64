"""Networks: initialisation, structure, and ensembles."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.networks import MLP, NetworkConfig, create_members, map_members
from floq.networks.mlp import Dense


def test_kernels_start_uniform_with_the_average_fan():
    """Variance scaling 1, fan_avg, uniform: bound √(3 / ((in + out) / 2)), and zero biases."""
    mlp = MLP(100, 1, NetworkConfig((300,)), key=jax.random.key(0))
    bound = np.sqrt(3 / 200)
    kernel = np.asarray(mlp.first.kernel)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.var(), bound**2 / 3, rtol=0.02)
    np.testing.assert_array_equal(mlp.first.bias, 0)


def test_dense_network_by_hand():
    """Two layers, GELU in its tanh form, then a layer norm with epsilon 1e-6."""
    mlp = MLP(3, 2, NetworkConfig((4, 5), layer_norm=True), key=jax.random.key(1))
    hidden = np.array([[0.3, -1.0, 2.0]])
    for layer, norm in zip((mlp.first, *mlp.layers), mlp.norms, strict=True):
        hidden = hidden @ np.asarray(layer.kernel) + np.asarray(layer.bias)
        inner = np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)
        hidden = 0.5 * hidden * (1 + np.tanh(inner))
        hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-6)
        hidden = hidden * np.asarray(norm.scale) + np.asarray(norm.bias)
    expected = hidden @ np.asarray(mlp.head.kernel) + np.asarray(mlp.head.bias)
    np.testing.assert_allclose(mlp(jnp.array([[0.3, -1.0, 2.0]])), expected, rtol=1e-4)


def test_residual_block_with_silent_layers_is_the_identity():
    """A block whose last layer gives zero passes its input on."""
    config = NetworkConfig((6, 6), residual_blocks=2)
    mlp = MLP(3, 1, config, key=jax.random.key(2))
    silent = eqx.tree_at(
        lambda network: network.layers, mlp, jax.tree.map(jnp.zeros_like, mlp.layers)
    )
    hidden = mlp.first(jax.random.normal(jax.random.key(3), (7, 3)))
    np.testing.assert_allclose(silent.features(hidden), jax.nn.gelu(hidden), rtol=1e-6)
    assert np.abs(mlp.features(hidden) - jax.nn.gelu(hidden)).max() > 0.1


def test_members_differ_and_are_mapped_one_by_one():
    """Members start apart, and mapping over them is calling each."""
    config = NetworkConfig((8,))
    members = create_members(lambda key: MLP(3, 1, config, key=key), 3, key=jax.random.key(4))
    inputs = jax.random.normal(jax.random.key(5), (5, 3))
    outputs = map_members(lambda member: member(inputs), members)
    alone = [jax.tree.map(lambda leaf, i=i: leaf[i], members)(inputs) for i in range(3)]
    np.testing.assert_allclose(outputs, np.stack(alone), rtol=1e-5)
    assert np.abs(np.diff(outputs, axis=0)).min() > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden_sizes": ()}, "hidden_sizes"),
        ({"hidden_sizes": (64, 0)}, "hidden_sizes"),
        ({"hidden_sizes": (64, 32), "residual_blocks": 1}, "residual_blocks"),
        ({"residual_blocks": -1}, "residual_blocks"),
    ],
)
def test_impossible_shapes_are_refused(settings, named):
    """The error names the setting."""
    with pytest.raises(ValueError, match=named):
        NetworkConfig(**settings)


def test_factors_of_products_are_rounded_to_bfloat16():
    """Products and their gradients read rounded factors, and add them up in float32."""
    rounded = Dense(300, 7, precision="bfloat16", key=jax.random.key(6))
    inputs = jax.random.normal(jax.random.key(7), (2, 5, 300))
    weights = jax.random.normal(jax.random.key(8), (2, 5, 7))

    def to_bfloat16(values):
        return np.asarray(values.astype(jnp.bfloat16), np.float64)

    def weighted(layer, inputs):
        return jnp.sum(layer(inputs) * weights)

    outputs = rounded(inputs)
    assert outputs.dtype == jnp.float32
    expected = to_bfloat16(inputs) @ to_bfloat16(rounded.kernel)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(outputs - inputs @ rounded.kernel).max() > 1e-4
    of_layer, of_inputs = jax.grad(weighted, argnums=(0, 1))(rounded, inputs)
    np.testing.assert_allclose(
        of_inputs, to_bfloat16(weights) @ to_bfloat16(rounded.kernel).T, rtol=1e-4, atol=1e-5
    )
    expected = np.einsum("bsi,bso->io", to_bfloat16(inputs), to_bfloat16(weights))
    np.testing.assert_allclose(of_layer.kernel, expected, rtol=1e-4, atol=1e-5)
    # What is no product is not rounded.
    np.testing.assert_allclose(of_layer.bias, np.sum(weights, (0, 1)), rtol=1e-5)
