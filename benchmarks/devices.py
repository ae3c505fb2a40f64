"""What sharing a batch costs and gains on a CPU: `python -m benchmarks.devices --devices 2`.

One CPU plays several devices, and each takes its share of every batch. The processor's seconds, of
all threads, say what sharing adds to the work; the clock's say what is gained where the CPU has a
core for each device. The two programs take turns in one process.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.timing import machine, median
from benchmarks.update import config_of, data
from floq.algorithms import floq
from floq.data.dataset import Dataset
from floq.runs.states import initial_states
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups


def main() -> None:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=10, help="updates of each in a round")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    found = {
        **machine(),
        "devices": options.devices,
        "size": options.size,
        **measure(
            config_of("floq", options.size, 4 if options.size == "small" else 8),
            rounds=options.rounds,
            updates=options.updates,
        ),
    }
    print(json.dumps(found, indent=2))


def measure(config: Any, *, rounds: int, updates: int) -> dict[str, Any]:
    """Milliseconds an update by processor and clock, on all devices and on one, and their ratios.

    Args:
        config: Settings of floq.
        rounds: How often the two take turns.
        updates: Updates of each in a round.
    """
    dataset = Dataset.from_trajectories(**data())
    state = initial_states(floq, config, dataset.statistics, (0,))
    learner = Learner.of(floq, config)
    advance = jax.jit(learner.advance, donate_argnums=0)
    shared = SeedGroups(learner, (0,), state, dataset)
    alone = jax.tree.map(lambda leaf: leaf[0], learner.start(state, dataset)[0])
    bounds = np.array([0, updates], np.int32)

    def advance_shared() -> None:
        shared.advance(0, updates)
        shared.block()

    def advance_alone() -> None:
        nonlocal alone
        alone = jax.block_until_ready(advance(alone, np.uint32(0), bounds, dataset))

    # The first round compiles. [rounds, shared and alone, processor and clock]
    pairs = np.array(
        [[_seconds(advance_shared), _seconds(advance_alone)] for _ in range(rounds + 1)]
    )
    milliseconds = 1e3 * pairs[1:] / updates
    found = {}
    for index, kind in enumerate(("processor", "clock")):
        several, one = milliseconds[:, 0, index], milliseconds[:, 1, index]
        found[kind] = {
            "milliseconds_shared": median(several),
            "milliseconds_alone": median(one),
            "ratio": median(several / one),
            "ratios": [float(f"{ratio:.4g}") for ratio in several / one],
        }
    return found


def _seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Of the processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


if __name__ == "__main__":
    main()
