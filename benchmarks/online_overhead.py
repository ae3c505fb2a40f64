"""What the loop around updates and environment costs: `python -m benchmarks.online_overhead`.

The parts alone (updates in a call each and in one call, the environment in this process, the
policy's answers) and the real loop take turns in one run, so that whatever else the machine does
meets them all. A second measurement saves checkpoints of buffers of several sizes, whose new rows
are equally many.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.timing import alternate, machine, median
from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.data.experience import Experience
from floq.data.memory import clip_actions
from floq.data.replay import ReplayBuffer
from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Slots
from floq.presets.changes import small
from floq.runs.checkpoint import rows_folder, save_checkpoint
from floq.runs.directory import Online, RunConfig, RunDirectory, Schedule
from floq.runs.row_log import RowLog
from floq.runs.states import initial_states
from floq.training.learner import Learner
from floq.training.online_phase import OnlinePhase
from floq.training.seed_groups import SeedGroups
from floq.types import Statistics

TASK = "pointmaze-medium-singletask-task1-v0"
CONFIG = small(
    floq.Config(critic=FlowCriticConfig(integration_steps=4, noise_samples=4), batch_size=128)
)
_ENVIRONMENTS = 100
"""Environments of the row log whose checkpoints are timed."""


def main() -> None:
    """Measures both and writes them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online_overhead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200, help="steps of each part in a round")
    parser.add_argument("--output", type=Path, default=Path("online_overhead.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="floq-benchmark-") as folder:
        found = {
            **machine(),
            "loop": measure_loop(
                Path(folder) / "run", CONFIG, TASK, rounds=options.rounds, steps=options.steps
            ),
            "saves": measure_saves(
                Path(folder) / "saves", (10_000, 100_000, 1_000_000), new=10_000, rounds=7
            ),
        }
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def measure_loop(
    folder: Path, config: floq.Config, task: str, *, rounds: int, steps: int
) -> dict[str, Any]:
    """Milliseconds of a step's parts and of the real loop, medians over rounds.

    Args:
        folder: A new one, for the run.
        config: What learns, with one environment and one update a step.
        task: The environment.
        rounds: How often the parts take turns.
        steps: Steps of each in a round.
    """
    spec = EnvironmentSpec(task)
    slots = Slots.build(spec, 1)
    shapes = Statistics(*slots.sizes[:2], -1.0, 0.0)
    run_config = RunConfig(
        algorithm="floq",
        config=config,
        task=None,
        environment=spec,
        seeds=(0,),
        steps=0,
        online=Online(steps=(rounds + 2) * steps, buffer="online"),
        schedule=Schedule(),
        fingerprint=None,
        statistics=shapes,
    )
    state = initial_states(floq, config, shapes, (0,))
    parts = _Parts(config, slots, state, steps)
    with (
        RunDirectory.create(folder, run_config) as files,
        OnlinePhase(
            files, run_config, None, state, checkpoint=None, processes=1, should_stop=_never
        ) as phase,
    ):

        def loop() -> None:
            limit = phase.step + steps
            while phase.step < limit:
                phase.advance(limit, _never)
                phase.window()

        named = {
            "update": parts.update,
            "update_in_one_call": parts.updates_in_one_call,
            "environment": parts.environment,
            "policy": parts.policy,
            "loop": loop,
        }
        seconds = alternate(named, rounds)
    return _shares({name: 1e3 * values / steps for name, values in seconds.items()})


def _shares(milliseconds: dict[str, np.ndarray]) -> dict[str, Any]:
    """Medians of the parts, and the loop's overhead beside what they need, median over rounds.

    Where a step of the environment and an update go on at once, the shorter one costs nothing.
    """
    update, environment, policy, loop = (
        milliseconds[name] for name in ("update", "environment", "policy", "loop")
    )
    at_once = policy + np.maximum(update, environment)
    in_turn = policy + update + environment
    return {
        "milliseconds": {name: median(values) for name, values in milliseconds.items()},
        "overhead_if_at_once": median((loop - at_once) / loop),
        "overhead_if_in_turn": median((loop - in_turn) / loop),
        "calls_share": median((update - milliseconds["update_in_one_call"]) / loop),
        "rounds": {name: [float(f"{v:.4g}") for v in values] for name, values in
                   milliseconds.items()},
    }  # fmt: skip


class _Parts:
    """What an online step consists of, each part by itself."""

    def __init__(self, config: floq.Config, slots: Slots, state: Any, steps: int):
        self._slots, self._steps, self._updates = slots, steps, 0
        self._random = np.random.default_rng(0)
        self._observations = self._reset()
        buffer = ReplayBuffer.create(
            self._observations, slots.sizes.action_dim, rows=4 * steps, discount=config.discount
        )
        learner = Learner.of(floq, config)
        self._groups = SeedGroups(learner, (0,), state, None, buffers=[buffer])
        for _ in range(steps):
            self._groups.add(self._step())

    def update(self) -> None:
        """Updates in a call of the program each, as acting between them needs."""
        for _ in range(self._steps):
            self._groups.advance(self._updates, self._updates + 1)
            self._groups.block()
            self._updates += 1

    def updates_in_one_call(self) -> None:
        """As many in a single call, as offline training has them."""
        self._groups.advance(self._updates, self._updates + self._steps)
        self._groups.block()
        self._updates += self._steps

    def environment(self) -> None:
        """Steps of the environment, without a process between."""
        for _ in range(self._steps):
            self._step()

    def policy(self) -> None:
        """The policy's answer to one observation, one after the other."""
        for time_ in range(self._steps):
            self._groups.act(self._observations, time_, at_random=False)

    def _reset(self) -> np.ndarray:
        return self._slots.reset(np.arange(1), self._random.integers(0, 2**31, 1))

    def _step(self) -> Experience:
        actions = clip_actions(self._random.uniform(-1, 1, (1, self._slots.sizes.action_dim)))
        steps = self._slots.step(np.arange(1), actions)
        ended = steps.terminated[0] or steps.truncated[0]
        first = self._reset() if ended else np.zeros_like(steps.observations)
        self._observations = first if ended else steps.observations
        return Experience(
            actions,
            steps.rewards.astype(np.float32),
            steps.terminated,
            steps.truncated,
            steps.observations,
            first,
        )


def measure_saves(
    folder: Path, sizes: Sequence[int], *, new: int, rounds: int
) -> list[dict[str, Any]]:
    """Seconds of a save of as many new rows, for buffers of several sizes that take turns.

    Args:
        folder: A new one.
        sizes: States in the buffer.
        new: States that are new at each save, a multiple of 100.
        rounds: Saves of each.
    """
    statistics_ = Statistics(40, 8, -1.0, 0.0)
    state = jax.device_get(initial_states(floq, CONFIG, statistics_, (0,)))
    logs = {size: _filled_log(folder / str(size), size, new) for size in sizes}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for step in range(1, rounds + 1):
        for size, log in logs.items():
            _append(log, new)
            started = time.perf_counter()
            save_checkpoint(folder / str(size), step, state, details={}, keep=2, shards=log.write())
            seconds[size].append(time.perf_counter() - started)
    return [
        {"states": size, "new": new, "seconds": median(values), "rounds": values}
        for size, values in seconds.items()
    ]


def _filled_log(folder: Path, size: int, new: int) -> RowLog:
    """A log of a full ring, whose shards are as large as saves of `new` rows make them."""
    log = RowLog(rows_folder(folder), _ENVIRONMENTS, 8, kept=size // _ENVIRONMENTS)
    for _ in range(size // new):
        _append(log, new)
        log.write()
    return log


def _append(log: RowLog, new: int) -> None:
    random = np.random.default_rng(0)
    no_end = np.zeros(_ENVIRONMENTS, np.bool_)
    for _ in range(new // _ENVIRONMENTS):
        observations = random.normal(size=(2, _ENVIRONMENTS, 40)).astype(np.float32)
        actions = random.uniform(-1, 1, (_ENVIRONMENTS, 8)).astype(np.float32)
        rewards = random.uniform(-1, 0, _ENVIRONMENTS).astype(np.float32)
        log.append(
            observations[0],
            Experience(actions, rewards, no_end, no_end, observations[1], observations[1]),
        )


def _never() -> bool:
    return False


if __name__ == "__main__":
    main()
