"""Settings, command lines and files at random: only errors that the docs tell of, and no hang."""

import contextlib
import copy
import io
import json
import math
import os
import signal
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import TypeCheckError

from floq.algorithms import floq
from floq.cli import _COMMANDS, main
from floq.data.npz import read_arrays
from floq.disk import read_json
from floq.envs.make import EnvironmentSpec
from floq.runs.checkpoint import DamagedCheckpointError, checkpoint_paths, load_checkpoint
from floq.runs.directory import RunConfig, read_config, read_rows, read_versions
from floq.settings import from_json, to_json
from floq.training import load_run
from tests.faults.learning import CONFIG, make_arrays, train_small
from tests.faults.trials import Row, Trial, hold

_SECONDS = 10
_SPEC = EnvironmentSpec("Pendulum-v1", {"g": 9.81, "max_episode_steps": 20})
_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, -(2**63), 10**30, 0.5, -0.0, 1e308, math.inf, math.nan, "",
    "floq", "mean", "../..", "\0", "\ud800", "ünï", [], [[]], {}, {"a": {"b": []}}, [1, "a", None],
]  # fmt: skip
_WITHOUT_DATA = {"train", "resume", "evaluate", "report", "data check", "data info"}
"""Commands that end at once where there is nothing to work on."""
_WORDS = [
    *_COMMANDS, "data", "-h", "--help", "--version", "-o", "--", "-", "", "\0", "ü", "../../x", "0",
    "-1", "1e400", "nan", "None", "True", "[1,2]", "--steps", "--seeds", "--algorithm", "--config",
    "--directory", "--processes", "--episodes", "--seed", "--config.discount", "--keep",
    "--config.critic.members", "--config.critic.network.hidden-sizes", "--log-interval",
    "--config.critic.aggregation", "--no-such-option", "cube-double-play-singletask-v0", "ppo",
    "cube-double-play-v0", "antmaze-large-navigate-v0", "nowhere", "nowhere.npz", "--bc",
    "x" * 3000,
]  # fmt: skip


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raises in the body if it takes longer than it may."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _refuses(
    what: Callable[[], Any], documented: tuple[type[BaseException], ...], words: str
) -> None:
    """The call ends well, or with a documented error that says something."""
    try:
        with _in_time():
            what()
    except documented as error:
        hold(not isinstance(error, TimeoutError), f"{words}: {error}")
        hold(str(error), f"{words}: an error without words")
    except BaseException as error:
        raise AssertionError(f"{words}: {type(error).__name__}: {error}") from error


def _mutated(value: Any, random: np.random.Generator) -> Any:
    """A copy of JSON data with one thing in it changed, added, renamed or taken away."""
    value = copy.deepcopy(value)
    place, key = None, None
    inner = value
    while isinstance(inner, dict | list) and inner and (place is None or random.random() < 0.75):
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        place, key = inner, keys[int(random.integers(len(keys)))]
        inner = inner[key]
    new = copy.deepcopy(_VALUES[int(random.integers(len(_VALUES)))])
    choice = random.random()
    if place is None:
        return new
    if choice < 0.2:
        del place[key]
    elif choice < 0.3 and isinstance(place, dict):
        place[str(new)] = place.pop(key)
    else:
        place[key] = new
    return value


def _bytes(content: bytes, random: np.random.Generator) -> bytes:
    """A copy of a file with some bytes changed, a part gone, doubled, or made up."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        start = int(random.integers(len(changed) + 1))
        stop = min(len(changed), start + int(random.integers(1, 40)))
        choice = random.random()
        if choice < 0.4 and start < len(changed):
            changed[start] = int(random.integers(256))
        elif choice < 0.6:
            del changed[start:stop]
        elif choice < 0.8:
            changed[start:start] = random.bytes(int(random.integers(1, 40)))
        else:
            changed[start:start] = changed[start:stop]
    return bytes(changed)


class _Fuzz:
    """A sound run and data file, and a trial of each kind."""

    def __init__(self, folder: Path):
        self._run, self._scratch = folder / "run", folder / "scratch"
        self._scratch.mkdir()
        train_small(self._run, steps=20)
        arrays = make_arrays(np.random.default_rng(0))
        self._data = folder / "data.npz"
        np.savez_compressed(self._data, **arrays)  # pyright: ignore[reportArgumentType]
        self._config = read_json(self._run / "config.json")
        self._checkpoint = checkpoint_paths(self._run / "checkpoints")[-1]
        state = load_run(self._run).state
        self._template = jax.eval_shape(lambda: state)

    def settings(self, random: np.random.Generator) -> None:
        """A run's settings, an algorithm's own, or an environment's."""
        choice = random.random()
        # pytest alone checks types as well, and takes no int where a float is declared.
        documented = (ValueError, TypeCheckError)
        if choice < 0.2:
            text = json.dumps(_mutated(json.loads(_SPEC.to_json()), random))
            _refuses(lambda: EnvironmentSpec.from_json(text), (ValueError,), f"a spec {text}")
            return
        kind, sound = (RunConfig, self._config) if choice < 0.6 else (floq.Config, to_json(CONFIG))
        data = _mutated(sound, random)
        _refuses(lambda: from_json(kind, data), documented, f"settings {data}")

    def command_line(self, random: np.random.Generator) -> None:
        """A command with words at random, which must fail or explain itself before it works."""
        first = list(_COMMANDS)[int(random.integers(len(_COMMANDS)))].split()
        count = int(random.integers(0, 6))
        words = [_WORDS[int(random.integers(len(_WORDS)))] for _ in range(count)]
        words = words if random.random() < 0.1 else [*first, *words]
        output = io.StringIO()

        def call() -> None:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                status = main(words)
            hold(status in (0, 1, 2), f"{words}: exit status {status}")
            hold(status == 0 or output.getvalue(), f"{words}: {status} without a word")
            hold("Traceback" not in output.getvalue(), f"{words}: {output.getvalue()}")

        _refuses(call, (), f"floq {' '.join(words)[:200]}")

    def reader(self, random: np.random.Generator) -> None:
        """A file of a run or a data set with bytes changed at random."""
        path = self._scratch
        readers: list[tuple[Path, Callable[[], Any]]] = [
            (self._data, lambda: read_arrays(path / "data.npz", required=["observations"],
                                             optional=["actions", "terminals"])),
            (self._run / "config.json", lambda: read_config(path)),
            (self._run / "versions.json", lambda: read_versions(path)),
            (self._run / "metrics.jsonl", lambda: read_rows(path / "metrics.jsonl")),
            *((file, self._load) for file in sorted(self._checkpoint.iterdir())),
        ]  # fmt: skip
        file, read = readers[int(random.integers(len(readers)))]
        checkpoint = self._scratch / self._checkpoint.name
        if file.parent == self._checkpoint:
            checkpoint.mkdir(exist_ok=True)
            for sound in self._checkpoint.iterdir():
                (checkpoint / sound.name).write_bytes(sound.read_bytes())
        target = checkpoint if file.parent == self._checkpoint else path
        (target / file.name).write_bytes(_bytes(file.read_bytes(), random))
        _refuses(read, (ValueError, DamagedCheckpointError), f"{file.name}")

    def _load(self) -> None:
        load_checkpoint(self._scratch / self._checkpoint.name, self._template)


@contextlib.contextmanager
def _fuzzed(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    fuzz = _Fuzz(folder)
    # Of twenty, one is a command line: those take most of the time.
    kinds = [fuzz.command_line, *[fuzz.settings] * 10, *[fuzz.reader] * 9]
    nowhere = folder / "nowhere"
    nowhere.mkdir()
    with (
        contextlib.chdir(nowhere),
        unittest.mock.patch.dict(os.environ, FLOQ_DATA=str(nowhere), COLUMNS="100"),
        contextlib.ExitStack() as stack,
    ):
        for name in _COMMANDS.keys() - _WITHOUT_DATA:
            # Only parsed: it would collect, fetch, serve or learn in earnest.
            stack.enter_context(unittest.mock.patch.object(_COMMANDS[name], "run", return_value=0))
        yield [kinds[index % len(kinds)] for index in range(wanted)]


ROWS = [
    Row(
        "fuzz",
        "fuzzed settings, command lines and readers",
        "only documented errors, no hang",
        20_000,
        200,
        _fuzzed,
    ),
]
