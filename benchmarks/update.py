"""What an update costs, beside the yardstick: `python -m benchmarks.update` (`make bench`).

The library trains as in a run: many updates in one compiled call, with the data on the device. The
yardstick (`benchmarks.plain`) makes one call an update, with a batch from the host. Both, and a
matrix product of the shape that the flow mostly consists of, take turns in one run, so that
whatever else the machine does meets them all.
"""

import argparse
import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import plain
from benchmarks.timing import alternate, machine, median
from floq.algorithms import algorithm_of, find_algorithm, floq, fql
from floq.compute import update_flops
from floq.critics.flow import FlowCriticConfig
from floq.data.dataset import Dataset
from floq.presets.changes import fast, small
from floq.runs.states import initial_states
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups
from floq.types import Batch, Statistics
from tests.faults.page import put_between

_OBSERVATION_DIM, _ACTION_DIM = 28, 5
"""Those of cube-single."""
_ROWS = 100_000
_PRODUCTS = 8


def config_of(algorithm: str, size: str, steps: int) -> Any:
    """The settings of a case.

    Args:
        algorithm: "floq", "fql", or "fast": floq with the changes of `presets.fast`.
        size: "paper", or "small": width 128, batches of 128, 4 noise samples.
        steps: Integration steps K; FQL has none.
    """
    if algorithm == "fql":
        config, batch_size = fql.Config(), 128
    else:
        samples = 8 if size == "paper" else 4
        critic = FlowCriticConfig(integration_steps=steps, noise_samples=samples)
        config, batch_size = floq.Config(critic=critic), 128
        if algorithm == "fast":
            config = fast(config)
    if size == "paper":
        return config
    return dataclasses.replace(small(config, width=128, depth=4), batch_size=batch_size)


def main() -> None:
    """Measures every case and writes them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.update")
    parser.add_argument("--sizes", nargs="+", default=["small", "paper"])
    parser.add_argument("--algorithms", nargs="+", default=["floq", "fast", "fql"])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 4], help="numbers of seeds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each part in a round")
    parser.add_argument("--output", type=Path, default=Path("update.json"))
    parser.add_argument("--page", type=Path, help="a page whose table is to show the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="floq-benchmark-") as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        found = measure_all(options)
    if options.page:
        put_between(options.page, "update", table(found))


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Every case, written as soon as it is measured."""
    found: dict[str, Any] = {**machine(), "cases": []}
    for algorithm, size, steps, seeds in cases(options):
        case = measure(
            algorithm, size, steps, seeds, rounds=options.rounds, seconds=options.seconds
        )
        print(json.dumps({key: case[key] for key in case if key != "rounds"}), flush=True)
        found["cases"].append(case)
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    return found


def cases(options: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """Algorithm, size, K and number of seeds; only floq takes every K, most with one seed."""
    chosen = []
    for size in options.sizes:
        usual = 8 if size == "paper" else 4
        for algorithm in options.algorithms:
            for steps in options.steps if algorithm == "floq" else [usual]:
                chosen += [
                    (algorithm, size, steps, seeds)
                    for seeds in options.seeds
                    if seeds == 1 or (steps == usual and algorithm != "fast")
                ]
    return chosen


def measure(
    algorithm: str, size: str, steps: int, seeds: int, *, rounds: int, seconds: float
) -> dict[str, Any]:
    """What an update of a case costs; medians over rounds.

    Args:
        algorithm: "floq", "fast" or "fql".
        size: "paper" or "small".
        steps: Integration steps K.
        seeds: Number of seeds that train at once.
        rounds: How often library, yardstick and matrix product take turns.
        seconds: About how long each takes in a round.
    """
    rule = find_algorithm("fql" if algorithm == "fql" else "floq")
    config = config_of(algorithm, size, steps)
    arrays = data()
    dataset = Dataset.from_trajectories(**arrays)
    training = _Training(Learner.of(rule, config), dataset, seeds)
    parts: dict[str, Callable[[int], None]] = {"library": training.run, "product": product(config)}
    if algorithm != "fql" and seeds == 1:
        parts["plain"] = _Yardstick(config, arrays, dataset.statistics).run
    calls = {name: _calls_within(part, seconds) for name, part in parts.items()}
    timed = alternate(
        {name: functools.partial(part, calls[name]) for name, part in parts.items()}, rounds
    )
    each = {name: values / calls[name] for name, values in timed.items()}
    flops = seeds * update_flops(config, dataset.statistics)
    rates = flops / each["library"] / 1e9
    peaks = _product_flops(config) / each["product"] / 1e9
    case = {
        "algorithm": algorithm,
        "size": size,
        "steps": None if algorithm == "fql" else steps,
        "seeds": seeds,
        "updates_per_second": median(seeds / each["library"]),
        "gflop_per_update": float(f"{flops / seeds / 1e9:.4g}"),
        "gflops": median(rates),
        "product_gflops": median(peaks),
        "share_of_product": median(rates / peaks),
        **training.compiled,
    }
    if "plain" in each:
        ratios = each["plain"] / each["library"]
        case |= {
            "plain_updates_per_second": median(1 / each["plain"]),
            "ratio": median(ratios),
            "ratio_range": [float(f"{side(ratios):.4g}") for side in (np.min, np.max)],
        }
    case["rounds"] = {name: [float(f"{v:.4g}") for v in values] for name, values in each.items()}
    return case


def data() -> dict[str, Any]:
    """Random trajectories of 1,000 rows, in the sizes of cube-single."""
    random = np.random.default_rng(0)
    terminals = np.zeros(_ROWS, np.float32)
    terminals[999::1000] = 1
    return {
        "observations": random.normal(size=(_ROWS, _OBSERVATION_DIM)).astype(np.float32),
        "actions": random.uniform(-1, 1, (_ROWS, _ACTION_DIM)).astype(np.float32),
        "rewards": -random.integers(0, 2, _ROWS).astype(np.float32),
        "masks": np.ones(_ROWS, np.float32),
        "terminals": terminals,
    }


class _Training:
    """The library's own program, timed as a run calls it."""

    def __init__(self, learner: Learner, dataset: Dataset, seeds: int):
        self._step = 0
        numbers = tuple(range(seeds))
        _, rule = algorithm_of(learner.config)
        state = initial_states(rule, learner.config, dataset.statistics, numbers)
        self._groups = SeedGroups(learner, numbers, state, dataset)
        self.compiled = self._compile()

    def _compile(self) -> dict[str, float]:
        """Seconds to compile a group's program, and megabytes that it plans for itself."""
        group, bounds = self._groups._groups[0], np.array([0, 1], np.int32)
        # Which the first update then finds compiled.
        lowered = self._groups._programs.update.lower(
            group.carry, group.seeds, group.buffer, bounds, self._groups._dataset
        )
        started = time.perf_counter()
        compiled = lowered.compile()
        seconds = time.perf_counter() - started
        memory = compiled.memory_analysis()
        megabytes = memory.temp_size_in_bytes / 1e6 if memory else float("nan")
        return {"compile_seconds": round(seconds, 1), "temporary_mb": round(megabytes, 1)}

    def run(self, updates: int) -> None:
        """That many updates of every seed, in one call."""
        self._groups.advance(self._step, self._step + updates)
        self._groups.block()
        self._step += updates


class _Yardstick:
    """The plain form: each update a call, whose batch is drawn by numpy and sent to the device."""

    def __init__(self, config: floq.Config, arrays: dict[str, Any], shapes: Statistics):
        self._config, self._arrays = config, arrays
        self._random = np.random.default_rng(0)
        self._rows = np.flatnonzero(arrays["terminals"] == 0)
        self._key = jax.random.key(0)
        self._state = floq.init(config, shapes, key=self._key)
        self._update = jax.jit(functools.partial(plain.update, config), donate_argnums=0)

    def run(self, updates: int) -> None:
        """That many updates."""
        for _ in range(updates):
            self._key, key = jax.random.split(self._key)
            self._state, _ = self._update(self._state, self._batch(), key=key)
        jax.block_until_ready(self._state)

    def _batch(self) -> Batch:
        rows = self._random.choice(self._rows, self._config.batch_size)
        arrays = self._arrays
        following = arrays["observations"][rows + 1]
        own = [arrays[name][rows] for name in ("observations", "actions", "rewards", "masks")]
        return Batch(*map(jnp.asarray, (*own, following)))


def product(config: Any) -> Callable[[int], None]:
    """The machine's own pace: matrix products of the flow's main shape, in a compiled loop."""
    rows, width = _product_shape(config)
    left = jax.random.normal(jax.random.key(0), (rows, width))
    right = jax.random.normal(jax.random.key(1), (width, width)) / width**0.5

    @jax.jit
    def chain(left: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, _PRODUCTS, lambda _, value: value @ right, left)

    def run(calls: int) -> None:
        for _ in range(calls):
            jax.block_until_ready(chain(left))

    return run


def _product_shape(config: Any) -> tuple[int, int]:
    critic = config.critic
    samples = critic.noise_samples if isinstance(critic, FlowCriticConfig) else 1
    return config.batch_size * samples, critic.network.hidden_sizes[0]


def _product_flops(config: Any) -> float:
    rows, width = _product_shape(config)
    return 2.0 * _PRODUCTS * rows * width**2


def _calls_within(part: Callable[[int], None], seconds: float) -> int:
    """How many calls take about that long, at least 1; compiles first."""
    part(1)
    started = time.perf_counter()
    part(2)
    return max(1, round(2 * seconds / (time.perf_counter() - started)))


def table(found: dict[str, Any]) -> str:
    """The cases as a Markdown table."""
    lines = [
        f"{found['processor']}, {found['cores']} cores, device {found['device']}, "
        f"Python {found['python']}, jax {found['jax']}.",
        "",
        "| size | algorithm | K | seeds | updates/s | × yardstick (range) | GFLOP/update | GFLOP/s "
        "| share of product | compilation, s | temporary, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in found["cases"]:
        ratio = "–"
        if "ratio" in case:
            low, high = case["ratio_range"]
            ratio = f"{case['ratio']:.2f} ({low:.2f} to {high:.2f})"
        cells = (
            case["size"],
            case["algorithm"],
            "–" if case["steps"] is None else case["steps"],
            case["seeds"],
            f"{case['updates_per_second']:.3g}",
            ratio,
            f"{case['gflop_per_update']:.3g}",
            f"{case['gflops']:.3g}",
            f"{case['share_of_product']:.0%}",
            case["compile_seconds"],
            case["temporary_mb"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
