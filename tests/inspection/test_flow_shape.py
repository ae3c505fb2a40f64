import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.velocity_field import VelocityField
from floq.inspection.flow_shape import flow_shape
from floq.networks import NetworkConfig
from floq.types import Statistics

CONFIG = FlowCriticConfig(
    integration_steps=4, aggregation="min", network=NetworkConfig((8,), layer_norm=True)
)
OBSERVATIONS, ACTIONS = np.array([[2.0], [5.0]], np.float32), np.zeros((2, 1), np.float32)


class Field(VelocityField):
    """v = c (y − z) / (1 − t) with y = s + a member's own shift: ∂v/∂z = −c / (1 − t)."""

    c: jax.Array
    shift: jax.Array

    def __init__(self, like, c, shift):
        for field in dataclasses.fields(like):
            setattr(self, field.name, getattr(like, field.name))
        self.c, self.shift = jnp.array(c), jnp.array(shift)

    def condition(self, observations, actions):
        return observations + self.shift

    def __call__(self, condition, value, time):
        return self.c * (condition - value) / (1 - time)


def critic():
    return FlowCritic(Statistics(1, 1, -1.0, 0.0), CONFIG, discount=0.9, key=jax.random.key(0))


def shape_of(c, shift):
    """The shape of a critic whose two members are such fields."""
    made = critic()
    made = eqx.tree_at(lambda own: own.members, made, Field(made.members, c, shift))
    return flow_shape(made, OBSERVATIONS, ACTIONS)


def test_field_of_a_fixed_target():
    """With c = 1 every start goes straight to y: no curve, no spread, c found at every point."""
    shape = shape_of([1.0, 1.0], [0.0, 1.0])
    assert shape.paths.shape == (2, 2, 5, 16)
    np.testing.assert_allclose(shape.paths[:, :, -1].mean(axis=-1), [[2, 3], [5, 6]], rtol=1e-5)
    np.testing.assert_allclose(shape.samples.mean(axis=-1), [2, 5], rtol=1e-5)
    np.testing.assert_allclose(shape.deviations, 0, atol=1e-5)
    np.testing.assert_allclose(shape.spread, 0, atol=1e-5)
    np.testing.assert_allclose(shape.slopes[0, 0, :, 0], [-1, -4 / 3, -2, -4], rtol=1e-5)
    assert (shape.typical_damping, shape.kept_damping) == pytest.approx((1.0, 1.0))
    # Starts are the middles of 16 parts of [−1, 0], ends are 2, 3, 5 and 6.
    assert shape.noise_spread == pytest.approx(np.sqrt((16**2 - 1) / 12) / 16)
    assert shape.travelled == pytest.approx(4.5)


def test_field_that_does_not_read_z():
    """With c = 0 the spread of the starts stays, and nothing is damped."""
    shape = shape_of([0.0, 0.0], [0.0, 0.0])
    np.testing.assert_allclose(shape.member_spread, shape.noise_spread, rtol=1e-5)
    assert (shape.typical_damping, shape.kept_damping) == (0.0, 0.0)


def test_bound_is_kept_by_nine_points_of_ten():
    """Members of c = ¼ and ½: half of the points are at each, so ¼ is kept, between is typical."""
    shape = shape_of([0.25, 0.5], [0.0, 0.0])
    assert shape.kept_damping == pytest.approx(0.25)
    assert 0.25 <= shape.typical_damping <= 0.5


def test_slopes_of_a_network_are_differences():
    """∂v/∂z of a network agrees with the difference of its velocities around each point."""
    made = critic()
    shape = flow_shape(made, OBSERVATIONS, ACTIONS)
    step = 0.05
    velocities = eqx.filter_jit(made.velocities)
    for member in range(2):
        for index, time in enumerate(shape.times[:-1]):
            points = shape.paths[:, member, index]
            ahead, behind = (
                velocities(
                    jnp.asarray(OBSERVATIONS),
                    jnp.asarray(ACTIONS),
                    jnp.asarray(points + sign * step),
                    jnp.full(points.shape, time),
                )[member]
                for sign in (1, -1)
            )
            np.testing.assert_allclose(
                shape.slopes[:, member, index], (ahead - behind) / (2 * step), atol=2e-4
            )
    ends = eqx.filter_jit(made.return_samples)(
        jnp.asarray(OBSERVATIONS), jnp.asarray(ACTIONS), jnp.asarray(shape.paths[:, 0, 0])
    )
    np.testing.assert_allclose(np.moveaxis(shape.paths[:, :, -1], 1, 0), ends, rtol=1e-5)


def test_shape_of_a_field_that_multiplies_in_bfloat16():
    """It is about that of the same field in float32."""
    network = dataclasses.replace(CONFIG.network, precision="bfloat16")
    statistics, key = Statistics(1, 1, -1.0, 0.0), jax.random.key(0)
    rounded = FlowCritic(
        statistics, dataclasses.replace(CONFIG, network=network), discount=0.9, key=key
    )
    exact, near = (flow_shape(own, OBSERVATIONS, ACTIONS) for own in (critic(), rounded))
    assert np.abs(exact.slopes).max() > 0
    np.testing.assert_allclose(near.slopes, exact.slopes, atol=0.02 * np.abs(exact.slopes).max())
    np.testing.assert_allclose(near.samples, exact.samples, rtol=0.02, atol=0.02)
