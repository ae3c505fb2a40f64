"""What sharing a batch costs beside its work: `python -m benchmarks.devices --devices 2`.

One CPU plays several devices, which can gain nothing: on the same cores, an update split over them
takes as long as one device's, and what sharing adds. The two programs take turns in one process.
The seconds are the processor's, of all threads, so that other programs on the machine do not count.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.online_overhead import CONFIG
from benchmarks.timing import machine, median
from benchmarks.update import data
from floq.algorithms import floq
from floq.data.dataset import Dataset
from floq.training.program import Learner, Program, initial_state


def main() -> None:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=10, help="updates of each in a round")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    found = {
        **machine(),
        "devices": options.devices,
        **measure(CONFIG, rounds=options.rounds, updates=options.updates),
    }
    print(json.dumps(found, indent=2))


def measure(config: Any, *, rounds: int, updates: int) -> dict[str, Any]:
    """Processor's milliseconds an update, on all devices and on one, and their ratio.

    Args:
        config: Settings of floq.
        rounds: How often the two take turns.
        updates: Updates of each in a round.
    """
    dataset = Dataset.from_trajectories(**data())
    state = initial_state(floq, config, dataset.statistics, (0,))
    program = Program(floq, config, dataset, (0,), log_interval=updates)
    learner = Learner(floq, config)
    advance = jax.jit(learner.advance, donate_argnums=0, static_argnames="log_interval")
    shared = program.place(program.start(state))
    alone = jax.tree.map(lambda leaf: leaf[0], learner.start(state, dataset))
    bounds = np.array([0, updates], np.int32)

    def advance_shared() -> None:
        nonlocal shared
        shared = jax.block_until_ready(program.advance(shared, 0, updates))

    def advance_alone() -> None:
        nonlocal alone
        alone = jax.block_until_ready(
            advance(alone, np.uint32(0), bounds, dataset, log_interval=updates)
        )

    # The first round compiles.
    pairs = [(_seconds(advance_shared), _seconds(advance_alone)) for _ in range(rounds + 1)][1:]
    ratios = [several / one for several, one in pairs]
    several, one = (1e3 * median(times) / updates for times in zip(*pairs, strict=True))
    return {
        "milliseconds_shared": several,
        "milliseconds_alone": one,
        "ratio": median(ratios),
        "ratios": ratios,
    }


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
