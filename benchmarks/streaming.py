"""Training from data that is larger than memory: `python -m benchmarks.streaming FOLDER`.

Shards in the layout of cube-double's are made in the folder, some of them by name alone, so that
they take less of the disk than they hold. One process reads, checks, labels and trains from all of
them, and says what memory it took. Then the first shard in memory and all of them streamed train
in turns, each for whole parts, so that what is read beside the updates counts.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import machine, median
from floq.algorithms import fql
from floq.data.streamed import Data, StreamedDataset
from floq.presets.methods import small
from floq.runs.directory import RunConfig
from floq.runs.settings import Schedule
from floq.runs.states import initial_states
from floq.tasks import load_task
from floq.training.learner import Learner
from floq.training.offline_phase import OfflinePhase
from floq.training.seed_groups import SeedGroups
from floq.training.streaming import PartReader

_TASK, _SET = "cube-double-play-singletask-v0", "cube-double-play-v0"
_WIDTHS = {"observations": 37, "actions": 5, "qpos": 28}
_LENGTH = 1_001


def main() -> None:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=40, help="of about 1 GB")
    parser.add_argument("--files", type=int, default=4, help="that are more than names of others")
    parser.add_argument("--device-memory", default="1GB")
    parser.add_argument("--pace-memory", default="20MB", help="small, so that parts take turns")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resident", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resident:
        print(json.dumps(resident(options.folder, options.device_memory)))
        return
    make(options.folder / "all" / _SET, options.shards, options.files)
    make(options.folder / "one" / _SET, 1, 1)
    command = [sys.executable, "-m", "benchmarks.streaming", str(options.folder), "--resident"]
    answer = subprocess.run(
        [*command, "--device-memory", options.device_memory], check=True, capture_output=True
    )
    print(json.dumps({**machine(), **json.loads(answer.stdout)}), flush=True)
    print(json.dumps(pace(options.folder, options.pace_memory, rounds=options.rounds)))


def make(folder: Path, shards: int, files: int, *, rows: int = 3_570 * _LENGTH) -> None:
    """Shards of random rows, of which the later ones are names of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        path = folder / f"{_SET}-{number:03d}.npz"
        if path.exists():
            continue
        if number >= files:
            os.link(folder / f"{_SET}-{number % files:03d}.npz", path)
            continue
        random = np.random.default_rng(number)
        arrays = {
            field: np.clip(random.standard_normal((rows, width), np.float32), -1, 1)
            for field, width in _WIDTHS.items()
        }
        np.savez(path, **arrays, terminals=np.arange(1, rows + 1) % _LENGTH == 0)  # pyright: ignore[reportArgumentType]


def resident(folder: Path, device_memory: str) -> dict[str, Any]:
    """Trains from all shards, on three parts in turn, and says what it took."""
    started = time.perf_counter()
    dataset = _load(folder / "all", device_memory)
    assert isinstance(dataset, StreamedDataset)
    read = time.perf_counter() - started
    config = _config(dataset)
    assert config.parts is not None
    reader = PartReader(dataset, config.parts, seed=0, steps=4 * config.parts.updates)
    part = reader.take(0)
    state = initial_states(fql, config.config, config.statistics, (0,))
    groups = SeedGroups(Learner.of(fql, config.config), (0,), state, part)
    del part, state
    # All updates on a part would take minutes, and memory is at its most while the next is read.
    waits = list[float]()
    for number in range(1, 4):
        reader.ask(number)
        groups.advance(0, 20)
        groups.block()
        started = time.perf_counter()
        groups.use(None)
        groups.use(reader.take(number))
        waits.append(time.perf_counter() - started)
    size = sum(file.stat().st_size for file in (folder / "all").rglob("*.npz"))
    taken = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "gigabytes": round(size / 1e9, 2),
        "transitions": dataset.size,
        "read_checked_labelled_and_hashed_seconds": round(read, 1),
        "parts": config.parts._asdict(),
        "part_read_seconds": round(median(waits), 2),
        "resident_gigabytes": round(taken / 1e9, 2),
    }


def pace(folder: Path, device_memory: str, *, rounds: int) -> dict[str, Any]:
    """Updates a second on whole parts, each with its exchange, and as many in memory."""
    streamed = _load(folder / "all", device_memory)
    phases = {"streamed": _Phase(streamed), "in memory": _Phase(_load(folder / "one", None))}
    parts = phases["streamed"].config.parts
    assert parts is not None
    for phase in phases.values():
        phase.seconds(parts.updates)
    rates: dict[str, list[float]] = {name: [] for name in phases}
    for number in range(rounds):
        for name in list(phases)[:: 1 if number % 2 else -1]:
            rates[name].append(parts.updates / phases[name].seconds(parts.updates))
    ratios = np.divide(rates["streamed"], rates["in memory"])
    return {
        "device_memory": device_memory,
        "updates_on_a_part": parts.updates,
        "updates_per_second": {name: median(found) for name, found in rates.items()},
        "ratio": median(ratios),
        "ratio_range": [float(f"{side(ratios):.3g}") for side in (np.min, np.max)],
    }


class _Phase:
    """A training that goes on when it is told to."""

    def __init__(self, dataset: Data):
        self.config = _config(dataset)
        self._phase = OfflinePhase(self.config, dataset, None)

    def seconds(self, updates: int) -> float:
        started, last = time.perf_counter(), self._phase.step + updates
        while self._phase.step < last:
            self._phase.advance(last, lambda: False)
        return time.perf_counter() - started


def _load(folder: Path, device_memory: str | None) -> Data:
    dataset, env = load_task(_TASK, directory=folder, device_memory=device_memory)
    env.close()
    return dataset


def _config(dataset: Data) -> RunConfig:
    config = dataclasses.replace(small(fql.Config(), width=128, depth=4), batch_size=128)
    is_streamed = isinstance(dataset, StreamedDataset)
    return RunConfig(
        algorithm="fql",
        config=config,
        task=_TASK,
        environment=None,
        seeds=(0,),
        steps=10_000_000,
        online=None,
        schedule=Schedule(),
        fingerprint=dataset.fingerprint() if is_streamed else None,
        statistics=dataset.statistics,
        parts=dataset.parts(config.batch_size) if is_streamed else None,
    )


if __name__ == "__main__":
    main()
