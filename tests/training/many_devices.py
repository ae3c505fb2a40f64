"""Trainings on several devices, in processes of their own: jax fixes their number when it starts.

As a script it does what JSON on its standard input asks for, and prints JSON.
"""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import tiny_algorithm as tiny

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.critics.scalar import ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.policies.flow import FlowPolicyConfig
from floq.runs.states import initial_states
from floq.training import Interrupted, Schedule, resume, train
from floq.training.callbacks import Event
from floq.training.hosts import joined
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups

NETWORK = NetworkConfig((24, 16), layer_norm=True)
SMALL_FLOQ = floq.Config(
    critic=FlowCriticConfig(integration_steps=2, noise_samples=2, network=NETWORK),
    distilled=ScalarCriticConfig(network=NETWORK),
    policy=FlowPolicyConfig(flow_steps=2, network=NETWORK),
    batch_size=8,
)
CASES = {"tiny": (tiny, tiny.Config(batch_size=64)), "floq": (floq, SMALL_FLOQ)}
# Made when it is asked for: processes join before anything is computed.
dataset = functools.cache(tiny.make_dataset)
SCHEDULE = Schedule(
    log_interval=50, evaluation_interval=200, evaluation_episodes=1, checkpoint_interval=100
)


def make_groups(case: str, seeds: list[int]) -> SeedGroups:
    algorithm, config = CASES[case]
    state = initial_states(algorithm, config, dataset().statistics, seeds)
    return SeedGroups(Learner.of(algorithm, config), seeds, state, dataset())


def losses(case: str, seeds: list[int], updates: int, *, interval: int) -> list:
    """Means of every metric over each interval of updates, [intervals, metrics, seeds]."""
    groups, rows = make_groups(case, seeds), []
    for first in range(0, updates, interval):
        groups.start_window()
        groups.advance(first, first + interval)
        sums = groups.metric_sums()
        rows.append([(sums[name] / interval).tolist() for name in sorted(sums)])
    return rows


def share_of_the_work(seeds: list[int]) -> float:
    """Floating-point operations of an update on one of several devices, as a share of all."""
    learner, groups = Learner.of(*CASES["tiny"]), make_groups("tiny", seeds)
    start, _ = learner.start(groups.state, dataset())
    bounds = np.array([0, 1], np.int32)
    own = jax.tree.map(lambda leaf: leaf[0], start)
    alone = jax.jit(learner.advance), (own, np.uint32(seeds[0]), bounds, dataset())
    (group,) = groups._groups
    given = group.carry, group.seeds, group.buffer, bounds, groups._dataset
    shared = groups._programs.update, given
    whole, own = (
        function.lower(*arguments).compile().cost_analysis()["flops"]
        for function, arguments in (alone, shared)
    )
    return own / whole


def train_run(
    directory: str,
    seeds: list[int],
    steps: int,
    *,
    env: str | None = None,
    signal_at: int | None = None,
    told: str | None = None,
) -> list[int]:
    """Trains the tiny algorithm, resuming what is interrupted; gives the steps of interruptions.

    Args:
        directory: The run.
        seeds: Its seeds.
        steps: Updates.
        env: Where it is evaluated.
        signal_at: The update from which on the last process gets a signal.
        told: A file that gets a line for each event that a callback is told of.
    """
    interrupted = []
    settings = {"processes": 0, "progress": False}
    if told is not None:
        settings["callbacks"] = [functools.partial(note_event, Path(told))]
    advance = SeedGroups.advance

    def advance_and_signal(self, first, last):
        nonlocal signal_at
        if signal_at is not None and first >= signal_at:
            signal_at = None
            if jax.process_index() == jax.process_count() - 1:
                signal.raise_signal(signal.SIGTERM)
        return advance(self, first, last)

    SeedGroups.advance = advance_and_signal
    while True:
        try:
            if interrupted:
                resume(directory, dataset=dataset(), **settings)
            else:
                train(
                    tiny.Config(),
                    dataset(),
                    directory=directory,
                    env=env,
                    seeds=seeds,
                    steps=steps,
                    schedule=SCHEDULE,
                    **settings,
                )
        except Interrupted as error:
            interrupted.append(error.step)
            continue
        SeedGroups.advance = advance
        return interrupted


def note_event(path: Path, event: Event) -> None:
    with path.open("a") as file:
        file.write(f"{event.kind} {event.step} {len(event.rows)}\n")


def attempt(directory: str, **changes) -> str:
    """The error of a training with other settings."""
    config = dataclasses.replace(tiny.Config(), **changes)
    try:
        train(config, dataset(), directory=directory, steps=4, processes=0, progress=False)
    except (ValueError, RuntimeError, FileExistsError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


received = []


def count_signals() -> int:
    """Signals that came to the handler from before the processes joined, of one sent now."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    return len(received)


TASKS = {f.__name__: f for f in (losses, share_of_the_work, train_run, attempt, count_signals)}


def start(
    tasks: list, *, devices: int = 1, coordinator: str | None = None, hosts: int = 1, host: int = 0
) -> subprocess.Popen:
    """Starts a process that does tasks, each [name, arguments, keywords]."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    process = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([coordinator, hosts, host, tasks]))
    process.stdin.close()
    process.stdin = None
    return process


def results(process: subprocess.Popen, *, seconds: float = 240) -> list:
    """What the tasks gave."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def main() -> None:
    coordinator, hosts, host, tasks = json.load(sys.stdin)
    signal.signal(signal.SIGTERM, lambda *_: received.append(1))
    together = contextlib.nullcontext()
    if coordinator is not None:
        together = joined(coordinator, hosts=hosts, host=host)
    with together:
        found = [TASKS[name](*arguments, **keywords) for name, arguments, keywords in tasks]
    print(json.dumps(found))


if __name__ == "__main__":
    # Under its own name, as the tests import it.
    sys.path.insert(0, str(Path(__file__).parent))
    import many_devices

    many_devices.main()
