"""What computations cost, counted."""

import jax
import jax.numpy as jnp
import pytest

from floq.compute import count_flops, count_parameters
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.types import Batch, Statistics

NETWORK = NetworkConfig((32, 32), layer_norm=True)
BATCH = Batch(jnp.ones((64, 8)), jnp.ones((64, 2)), jnp.zeros(64), jnp.ones(64), jnp.ones((64, 8)))


def gradient_and_arguments(config):
    """The gradient of a critic's loss, as a function of arrays."""
    statistics = Statistics(8, 2, -1.0, 0.0)
    critic = config.create(statistics, discount=0.9, key=jax.random.key(0))
    draws = critic.sample_draws(64, key=jax.random.key(1))
    next_actions = jnp.ones((64, critic.noise_samples, 2))

    def gradient(critic, target, draws):
        return jax.grad(lambda own: own.td_loss(target, BATCH, next_actions, 0.9, draws)[0])(critic)

    return gradient, (critic, critic, draws)


def flow(steps):
    return FlowCriticConfig(integration_steps=steps, noise_samples=4, members=1, network=NETWORK)


@pytest.mark.parametrize(
    "config", [ScalarCriticConfig(members=2, network=NETWORK), flow(1)], ids=["scalar", "flow"]
)
def test_where_no_loop_repeats_the_count_is_that_of_xla(config):
    """Within 3 % of XLA's own cost analysis, exponentials and the like included."""
    gradient, arguments = gradient_and_arguments(config)
    analysis = jax.jit(gradient).lower(*arguments).cost_analysis()
    counted_by_xla = analysis["flops"] + analysis.get("transcendentals", 0.0)
    assert count_flops(gradient, *arguments) == pytest.approx(counted_by_xla, rel=0.03)


def test_every_integration_step_counts():
    """Steps that a loop runs each add the same; XLA counts all of them as one.

    So do those that are written out, which XLA counts too.
    """
    costs, by_xla = {}, {}
    for steps in (1, 4, 7, 12, 20):
        gradient, arguments = gradient_and_arguments(flow(steps))
        costs[steps] = count_flops(gradient, *arguments)
        by_xla[steps] = jax.jit(gradient).lower(*arguments).cost_analysis()["flops"]
    assert by_xla[20] < 1.01 * costs[1] < by_xla[4]
    # The steps themselves divide [0, 1], a few operations for each of them.
    assert costs[7] - costs[4] == pytest.approx(costs[4] - costs[1], rel=1e-4)
    assert costs[20] - costs[12] == pytest.approx((costs[4] - costs[1]) * 8 / 3, rel=1e-3)
    # A step reads the field for 64 states with 4 samples: at least its two large products.
    assert costs[4] - costs[1] > 3 * 64 * 4 * 2 * (50 * 32 + 32 * 32)


def test_products_and_sums_by_hand():
    """[3, 4] @ [4, 5] is 2 · 3 · 4 · 5; a sum counts what goes in, tanh what comes out."""
    left, right = jnp.ones((3, 4)), jnp.ones((4, 5))
    assert count_flops(jnp.matmul, left, right) == 120
    assert count_flops(jnp.sum, left) == 12
    assert count_flops(lambda x: jnp.tanh(x).reshape(2, 6), left) == 12


def test_a_scan_counts_as_often_as_it_runs_and_a_branch_at_its_dearest():
    """Ten products in a scan cost ten; of two branches the one with the product."""
    square = jnp.ones((4, 4))

    def repeated(x):
        return jax.lax.scan(lambda carry, _: (carry @ carry, None), x, length=10)[0]

    assert count_flops(repeated, square) == 10 * 128

    def chosen(x):
        return jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y, x)

    assert 128 <= count_flops(chosen, square) < 150


def test_a_loop_of_unknown_length_is_refused():
    """Rather than counted once."""
    with pytest.raises(ValueError, match="number of steps depends on data"):
        count_flops(lambda n: jax.lax.while_loop(lambda i: i < n, lambda i: i + 1, 0), 5)


def test_parameters_are_all_numbers_of_all_arrays():
    """Two members of 10 → 32 → 32 → 1 with two layer norms."""
    _, (critic, *_) = gradient_and_arguments(ScalarCriticConfig(members=2, network=NETWORK))
    assert count_parameters(critic) == 2 * (11 * 32 + 33 * 32 + 33 + 2 * 64)
