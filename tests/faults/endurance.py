"""A long training that must not grow: `python -m tests.faults.endurance`."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import tests.faults.broken_environment as broken
from floq.envs.make import EnvironmentSpec
from floq.training import Schedule, loop, train
from tests.faults.learning import CONFIG, make_dataset
from tests.faults.programs import ROOT
from tests.faults.trials import Row, Trial, hold

_UPDATES, _SAVES = 200_000, 200
_SLOPE = 1.0
"""Megabytes that may be added every 10,000 updates."""


def main(folder: Path, updates: int, saves: int) -> None:
    """Trains with as many evaluations as saves; prints what was seen after each save, as JSON."""
    compilations = 0

    def count(event: str, *_: Any, **__: Any) -> None:
        nonlocal compilations
        compilations += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(count)
    seen: list[tuple[int, float, int, int]] = []
    save = loop.save_checkpoint

    def save_and_look(place: Path, step: int, *arguments: Any, **settings: Any) -> Any:
        path = save(place, step, *arguments, **settings)
        megabytes = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20
        files = len(list(Path("/proc/self/fd").iterdir()))
        seen.append((step, megabytes, files, compilations))
        return path

    interval = updates // saves
    schedule = Schedule(
        log_interval=interval,
        evaluation_interval=interval,
        evaluation_episodes=2,
        checkpoint_interval=interval,
    )
    spec = EnvironmentSpec(f"{broken.__name__}:Broken-v0", {"orders": str(folder / "orders")})
    with unittest.mock.patch.object(loop, "save_checkpoint", save_and_look):
        train(
            dataclasses.replace(CONFIG),
            make_dataset(),
            directory=folder / "run",
            env=spec,
            steps=updates,
            schedule=schedule,
            processes=1,
            progress=False,
        )
    rows = (folder / "run" / "evaluations.jsonl").read_text().count("\n")
    print(json.dumps({"seen": seen, "evaluations": rows}))


_PAGE = os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def _long(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    yield [partial(_trial, folder, _UPDATES, _SAVES)] * wanted


def _trial(folder: Path, updates: int, saves: int, random: np.random.Generator) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.endurance", str(folder), str(updates), str(saves)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    hold(done.returncode == 0, done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    hold(found["evaluations"] == saves, f"{found['evaluations']} evaluations in place of {saves}")
    steps, megabytes, files, compilations = np.array(found["seen"]).T
    hold(len(steps) == saves, f"{len(steps)} saves in place of {saves}")
    # The first fifth warms up: imports, compilations, the allocator's pools.
    warm = len(steps) // 5
    slope = 10_000 * float(np.polyfit(steps[warm:], megabytes[warm:], 1)[0])
    hold(slope <= _SLOPE, f"memory grows by {slope:.2f} MB every 10,000 updates")
    hold(files[-1] <= files[warm], f"open files grew from {files[warm]:g} to {files[-1]:g}")
    more = compilations[-1] - compilations[warm]
    hold(more == 0, f"{more:g} compilations after the first {steps[warm]:g} updates")
    return {"MB per 10,000 updates": slope, "open files": files[-1], "MB": megabytes[-1]}


def small_trial(folder: Path) -> dict[str, float]:
    """The same at a size for a test."""
    return _trial(folder, 20_000, 20, np.random.default_rng(0))


ROWS = [
    Row(
        "endurance",
        "200,000 small updates, 200 evaluations, 200 saves",
        "memory slope at most 1 MB per 10,000 updates, no growth of open files, no recompilation "
        "after warm-up",
        1,
        0,
        _long,
    ),
]

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
