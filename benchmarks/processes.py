"""What processes gain in evaluation and data generation: `python -m benchmarks.processes`.

The serial form of an evaluation plays one episode after the other, with a policy call for each step
of it. The forms take turns, so that whatever else the machine does meets them all.
"""

import argparse
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.timing import alternate, machine, median
from floq.algorithms import floq
from floq.data.generation import generate
from floq.data.memory import clip_actions
from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Slots
from floq.evaluation import Evaluator
from floq.presets.changes import small
from floq.runs.run import make_policy, state_at
from floq.runs.states import initial_states
from floq.types import Policy, Statistics

TASK = "cube-single-play-singletask-task1-v0"
_DATASET = "cube-single-play-v0"


def main() -> None:
    """Measures both and writes them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=50, help="of an evaluation")
    parser.add_argument("--trajectories", type=int, default=40, help="to generate, ten to a part")
    parser.add_argument("--output", type=Path, default=Path("processes.json"))
    options = parser.parse_args()
    found = {
        **machine(),
        "processes": options.processes,
        "evaluation": measure_evaluation(options.episodes, options.processes, options.rounds),
        "generation": measure_generation(options.trajectories, options.processes, options.rounds),
    }
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def measure_evaluation(episodes: int, processes: int, rounds: int) -> dict[str, Any]:
    """Seconds of an evaluation in its serial form and in processes, and their ratio.

    Args:
        episodes: Episodes of each.
        processes: Processes of the other form.
        rounds: How often the two take turns.
    """
    spec = EnvironmentSpec(TASK)
    slots = Slots.build(spec, 1)
    shapes = Statistics(*slots.sizes[:2], -1.0, 0.0)
    config = small(floq.Config())
    state = state_at(initial_states(floq, config, shapes, (0,)), 0)
    policy = make_policy(floq.act, config, state)
    with Evaluator(spec, processes=processes) as evaluator:
        parts = {
            "serial": functools.partial(play_serially, slots, policy, episodes),
            "processes": lambda: _evaluate(evaluator, policy, episodes),
        }
        return compared(parts, "processes", rounds)


def play_serially(slots: Slots, policy: Any, episodes: int) -> None:
    """Plays one episode after the other."""
    first = np.arange(1)
    for episode in range(episodes):
        observations = slots.reset(first, np.array([episode]))
        for step in range(100_000):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(episode), step), 1)
            taken = slots.step(first, clip_actions(np.asarray(policy(observations, keys))))
            observations = taken.observations
            if taken.terminated[0] or taken.truncated[0]:
                break


def _evaluate(evaluator: Evaluator, policy: Policy, episodes: int) -> None:
    evaluator.evaluate(policy, episodes=episodes)


def measure_generation(trajectories: int, processes: int, rounds: int) -> dict[str, Any]:
    """Seconds of a generation in one process and in several, and their ratio."""

    def collect(count: int) -> None:
        with tempfile.TemporaryDirectory(prefix="floq-benchmark-") as folder:
            generate(
                _DATASET,
                episodes=trajectories,
                processes=count,
                directory=Path(folder),
                progress=False,
            )

    parts = {
        "serial": functools.partial(collect, 1),
        "processes": functools.partial(collect, processes),
    }
    return compared(parts, "processes", rounds)


def compared(parts: dict[str, Any], faster: str, rounds: int) -> dict[str, Any]:
    """Median seconds of forms that take turns, and how much faster than "serial" one of them is."""
    seconds = alternate(parts, rounds)
    ratios = seconds["serial"] / seconds[faster]
    return {
        "seconds": {name: median(values) for name, values in seconds.items()},
        "ratio": median(ratios),
        "ratio_range": [float(f"{side(ratios):.4g}") for side in (np.min, np.max)],
    }


if __name__ == "__main__":
    main()
