"""Paths, velocities and their integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.flow_matching import integrate, interpolate, target_velocity, trajectory

METHODS = {"euler": 1, "midpoint": 2, "rk4": 4}


def test_path_runs_straight_from_noise_to_target():
    """The path starts at the noise, ends at the target, and has the constant target velocity."""
    noise, target = jnp.array([-3.0, 2.0]), jnp.array([5.0, 1.0])
    np.testing.assert_allclose(interpolate(noise, target, jnp.zeros(2)), noise)
    np.testing.assert_allclose(interpolate(noise, target, jnp.ones(2)), target)
    _, slope = jax.jvp(
        lambda time: interpolate(noise, target, time), (jnp.full(2, 0.3),), (jnp.ones(2),)
    )
    np.testing.assert_allclose(slope, target_velocity(noise, target))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 3, 16])
def test_constant_field_is_integrated_exactly(method, steps):
    """A constant velocity moves every point by itself, whatever the rule and number of steps."""
    start = jnp.array([0.5, -1.0])
    end = integrate(lambda time, point: jnp.full(2, 2.5), start, steps=steps, method=method)
    np.testing.assert_allclose(end, start + 2.5, rtol=1e-6)


@pytest.mark.parametrize(("method", "order"), METHODS.items())
def test_error_falls_with_the_order_of_the_rule(method, order):
    """On z' = z + t, halving the step divides the error by 2, 4 and 16 for the three rules."""

    def error(steps: int) -> float:
        with jax.enable_x64(True):
            end = integrate(
                lambda time, point: point + time,
                jnp.float64(1.0),
                steps=steps,
                method=method,  # pyright: ignore[reportArgumentType]
            )
        return abs(float(end) - (2 * np.e - 2))

    ratio = error(16) / error(32)
    assert abs(np.log2(ratio) - order) < 0.12


@pytest.mark.parametrize("method", METHODS)
def test_trajectory_passes_start_and_end(method):
    """K steps pass K + 1 points: the first is the start, the last what `integrate` gives."""
    start = jnp.array([0.1, 0.7])

    def field(time, point):
        return jnp.sin(3 * point) - time

    points = trajectory(field, start, steps=5, method=method)
    assert points.shape == (6, 2)
    np.testing.assert_array_equal(points[0], start)
    np.testing.assert_allclose(
        points[-1], integrate(field, start, steps=5, method=method), rtol=1e-6
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_number_of_steps_known_at_run_time_gives_the_same(method):
    """One program serves every K."""
    start = jnp.array([0.1, 0.7])

    def end(steps):
        return integrate(
            lambda time, point: jnp.sin(3 * point) - time, start, steps=steps, method=method
        )

    compiled = jax.jit(end)
    for steps in (1, 4, 7):
        np.testing.assert_allclose(compiled(jnp.int32(steps)), end(steps), rtol=1e-5)
