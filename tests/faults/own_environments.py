"""Users' environments that go wrong: refused before the first update, or said, or served."""

import contextlib
import dataclasses
import shutil
import sys
import types
import unittest.mock
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import tests.faults.odd_environments as odd
from floq.envs import make, preflight
from floq.envs.make import EnvironmentSpec
from floq.envs.vector import WorkerError
from floq.training import load_run
from tests.faults.learning import SCHEDULE, train_small
from tests.faults.trials import Row, Trial, hold

_AT_ONCE = {
    "an error at its making": "no such robot",
    "a reset without info": "tuple",
    "a dictionary to see": "FlattenObservation",
    "a picture to see": "flat Box of floats",
    "four numbers to see": "shapes",
    "numbered actions": "continuous",
    "bounds of 3": "action_low",
    "bounds from 0 to 1": "action_low",
    "no bounds": "action_low",
    "two actions": "shapes",
}
"""What is refused whatever happens, and a word that the error must hold."""

_AT_A_STEP = {
    "an error": "the robot fell",
    "an exit": "",
    "a step of four": "expected 5",
    "a reward in a list": "reward",
    "a reward in an array": "reward",
    "no reward": "reward",
    "a reward in words": "reward",
    "an infinite reward": "reward",
    "a reward that is no number": "reward",
    "an end in words": "terminated",
    "no end": "terminated",
    "an end of 2": "terminated",
    "success in words": "success",
    "a success of 3": "success",
    "is_success in words": "is_success",
    "no info": "dictionary",
    "words to see": "dtype",
    "objects to see": "dtype",
    "another shape": "shape",
    "one number less": "shape",
    "numbers that are none": "not finite",
    "numbers beyond float32": "not finite",
}
"""What is refused if it shows at once, and ends a run that is saved if it shows later."""

_SAID = {
    "episodes without end": "no time limit",
    "draws of its own": "does not repeat itself",
    "beyond its space": "outside of its observation space",
}
_SERVED = (
    *("words on the output", "is_success", "success of numpy", "success in an array", "ends of 0"),
    *("a reward of numpy", "a whole reward", "float64", "a list", "bounds of 3, scaled", "nothing"),
)
_ELSEWHERE = ("known here alone", "in a module of this process", "one for all", "no environment")
_NAMES = [*_AT_ONCE, *_AT_A_STEP, *_SAID, *_SERVED, *_ELSEWHERE]
_MOST = 200
"""Steps after which an episode without end is ended here, in place of 10,000."""


def _environment(kind: str, when: int) -> Any:
    if kind == "known here alone":
        gymnasium.register("Here-v0", lambda: odd.User("nothing"), max_episode_steps=20)
        return EnvironmentSpec("Here-v0")
    if kind == "in a module of this process":
        module = types.ModuleType("a_module_of_this_process")
        module.make = lambda: odd.make("nothing")  # pyright: ignore
        sys.modules[module.__name__] = module
        return f"{module.__name__}:make"
    if kind == "no environment":
        return odd.no_environment
    name = "User-v0" if kind == "episodes without end" else "make"
    return EnvironmentSpec(f"{odd.__name__}:{name}", {"kind": kind, "when": when})


def _trial(run: Path, kind: str, random: np.random.Generator) -> None:
    """Trains for a few updates in such an environment, and looks at what came of it."""
    shutil.rmtree(run, ignore_errors=True)
    # Half of what can go wrong in a step goes wrong in a later one.
    when = int(random.integers(2, odd.LENGTH)) * int(random.integers(2))
    when *= kind in _AT_A_STEP
    processes = 1 if kind in ("an exit", *_ELSEWHERE) else int(random.integers(2))
    schedule = dataclasses.replace(SCHEDULE, evaluation_episodes=2)
    refused, broke = "", ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            environment = _environment(kind, when)
            train_small(run, steps=20, env=environment, processes=processes, schedule=schedule)
        except ValueError as error:
            refused = str(error)
        except WorkerError as error:
            broke = str(error)
    said = " ".join(str(one.message) for one in caught)
    is_late = bool(when)
    if kind in _SAID:
        hold(not refused and not broke, f"{kind}: {refused or broke}")
        hold(_SAID[kind] in said, f"{kind}: not a word: {said}")
    elif kind in _SERVED:
        hold(not refused and not broke, f"{kind}: {refused or broke}")
        hold("environment" not in said, f"{kind}: {said}")
    elif is_late or (kind == "one for all" and broke):
        hold(broke, f"{kind} at step {when}: not noticed")
        hold({**_AT_A_STEP, kind: ""}[kind] in broke, f"{kind} at step {when}: {broke}")
    else:
        word = {**_AT_ONCE, **_AT_A_STEP}.get(kind, "")
        hold(refused and word in refused, f"{kind}: not refused, or without {word!r}: {refused}")
        hold(not run.exists(), f"{kind}: refused only after the run was begun")
        return
    hold(load_run(run).step == 20, f"{kind}: training was lost")


@contextlib.contextmanager
def _users(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    names = [_NAMES[(7 * index) % len(_NAMES)] for index in range(wanted)]
    patch = unittest.mock.patch.object
    with patch(make, "MAX_EPISODE_STEPS", _MOST), patch(preflight, "MAX_EPISODE_STEPS", _MOST):
        yield [partial(_trial, folder / "run", name) for name in names]


ROWS = [
    Row(
        "environments-users",
        "users' environments: no time limit, other bounds, unseeded, wrong shapes, dtypes, "
        "rewards, ends and successes, errors, none that others can import, prints, other spaces",
        "refused before the first update, said, or served; one that goes wrong later ends a run "
        "that is saved",
        60,
        6,
        _users,
    ),
]
