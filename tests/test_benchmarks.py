"""The yardstick of the benchmarks measures the same update as the library's."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import devices, online_overhead, plain, update
from benchmarks.versus import HERE, compare
from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.critics.scalar import ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies.flow import FlowPolicyConfig
from floq.types import Batch, Statistics

ROOT = Path(__file__).parent.parent
NETWORK = NetworkConfig((12, 8), layer_norm=True)
CONFIG = floq.Config(
    critic=FlowCriticConfig(integration_steps=3, noise_samples=2, network=NETWORK),
    distilled=ScalarCriticConfig(network=NETWORK),
    policy=FlowPolicyConfig(flow_steps=2, network=NetworkConfig((8,))),
    batch_size=6,
)


@pytest.mark.slow
def test_the_plain_form_has_the_same_loss_and_gradient():
    """Loss to 1e-5 and each gradient to 1e-4 of its largest entry, on the same draws."""
    init_key, draws_key, *keys = jax.random.split(jax.random.key(0), 7)
    parameters = floq.init(CONFIG, Statistics(3, 2, -1.0, 0.0), key=init_key).parameters
    target_critic = jax.tree.map(lambda leaf: leaf * 0.9, parameters.critic)
    size = CONFIG.batch_size
    batch = Batch(
        jax.random.normal(keys[0], (size, 3)),
        jax.random.uniform(keys[1], (size, 2), minval=-1, maxval=1),
        -jax.random.uniform(keys[2], (size,)),
        jnp.ones(size).at[0].set(0),
        jax.random.normal(keys[3], (size, 3)),
    )
    draws = floq.sample_draws(parameters, size, key=draws_key)
    arguments = (CONFIG, parameters, target_critic, batch, draws)
    ours, gradients = jax.value_and_grad(
        lambda given: floq.loss(CONFIG, given, target_critic, batch, draws)[0]
    )(parameters)
    value, plain_gradients = jax.value_and_grad(plain.loss, argnums=1)(*arguments)
    np.testing.assert_allclose(value, ours, rtol=1e-5)
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(plain_gradients), strict=True)
    for expected, found in pairs:
        largest = float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * largest + 1e-7)


def test_saves_write_what_is_new(tmp_path):
    """The shards of every size are as many as its ring needs, each of the rows of one save."""
    found = online_overhead.measure_saves(tmp_path, (400, 1200), new=200, rounds=2)
    assert [row["states"] for row in found] == [400, 1200]
    for row in found:
        assert len(row["rounds"]) == 2
        files = list((tmp_path / str(row["states"]) / "rows").iterdir())
        # Each twice; those that the checkpoint before needs stay.
        assert len(files) >= 2 * row["states"] // 200


@pytest.mark.slow
def test_what_sharing_costs_is_measured_in_turns():
    """Each round gives a ratio of the two programs' times; on one device they are the same work."""
    found = devices.measure(CONFIG, rounds=3, updates=5)
    for times in (found["processor"], found["clock"]):
        assert len(times["ratios"]) == 3
        assert 0.2 < times["ratio"] < 5


def measured(name, output, *options):
    """What a benchmark writes, as a command: in this process every shape would be checked."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--output", str(output)]
    subprocess.run(command, cwd=ROOT, timeout=600, check=True)
    return json.loads(output.read_text())


@pytest.mark.slow
def test_an_update_is_timed_beside_the_yardstick(tmp_path):
    """Rates, operations and ratio of a case belong together."""
    options = "--sizes small --algorithms floq --steps 1 --seeds 1 --rounds 2 --seconds .1".split()
    (case,) = measured("update", tmp_path / "update.json", *options)["cases"]
    assert len(case["rounds"]["library"]) == len(case["rounds"]["plain"]) == 2
    assert case["ratio_range"][0] <= case["ratio"] <= case["ratio_range"][1]
    rate = case["updates_per_second"] * case["gflop_per_update"]
    assert case["gflops"] == pytest.approx(rate, rel=0.01)


@pytest.mark.slow
def test_two_trees_take_turns():
    """This tree against itself is about as fast, and both trees' updates were made."""
    found = compare("fql,small,1,1", HERE, rounds=2, seconds=0.2)
    assert 0.2 < found["ratio"] < 5
    assert found["before"] > 0
    assert found["ratio_range"][0] <= found["ratio"] <= found["ratio_range"][1]


@pytest.mark.slow
def test_processes_are_timed_beside_the_serial_form(tmp_path):
    """Evaluation and generation each have both forms and their ratio."""
    options = "--rounds 1 --episodes 1 --trajectories 1".split()
    found = measured("processes", tmp_path / "processes.json", *options)
    for part in (found["evaluation"], found["generation"]):
        assert part["seconds"].keys() == {"serial", "processes"}
        assert part["ratio"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("ground", ["control", "value"])
def test_studies_are_timed_one_by_one_and_side_by_side(tmp_path, ground):
    """Both forms train the same critics."""
    options = f"--ground {ground} --rounds 1 --updates 6 --seeds 0".split()
    found = measured("studies", tmp_path / "studies.json", *options)
    assert found["seconds"].keys() == {"serial", "processes"}
    assert found["ratio"] > 0


def test_the_page_shows_the_committed_results():
    """The table of docs/log/performance.md is that of docs/results/update.json, word for word."""
    docs = ROOT / "docs"
    found = json.loads((docs / "results" / "update.json").read_text())
    assert update.table(found) in (docs / "log" / "performance.md").read_text()
