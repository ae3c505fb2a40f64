"""Environments that break while a run is evaluated."""

import contextlib
import dataclasses
import re
import shutil
import unittest.mock
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import floq
import tests.faults.broken_environment as broken
from floq import evaluation as evaluations
from floq.envs.make import EnvironmentSpec
from floq.envs.vector import VectorEnvironment, WorkerError
from floq.training import load_run
from tests.faults.learning import SCHEDULE, resume_small, train_small
from tests.faults.programs import end_of, hold_same_end
from tests.faults.trials import Row, Trial, hold

_FAULTS = ("raise", "nan", "kill", "nan reward", "hang")
_EPISODES = 40
_SLOTS = 25
"""Environments that an evaluation keeps: the first episodes of all run side by side."""

_SCHEDULE = dataclasses.replace(SCHEDULE, evaluation_episodes=_EPISODES, keep=9)
_STEPS = 60


@contextlib.contextmanager
def _broken(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    orders, run = folder / "orders", folder / "run"
    spec = EnvironmentSpec(f"{broken.__name__}:Broken-v0", {"orders": str(orders)})
    train_small(folder / "uncut", steps=_STEPS, env=spec, schedule=_SCHEDULE)
    expected = end_of(folder / "uncut")

    def trial(index: int, random: np.random.Generator) -> None:
        fault = _FAULTS[index % len(_FAULTS)]
        # Each evaluation plays every copy's first episode, and some copies' second.
        evaluation, second = int(random.integers(_STEPS // 20)), int(random.integers(2))
        step = int(random.integers(broken.LENGTH))
        shutil.rmtree(run, ignore_errors=True)
        said = ""
        # One process, so that all copies are at the same step when one breaks.
        settings = {"processes": 1, "schedule": _SCHEDULE}
        order = f"{fault},{2 * evaluation + second},{step}"

        def give_order(event: floq.Event) -> None:
            """Once training goes on: what is tried of an environment before is another row's."""
            if event.kind == "log" and event.step == _STEPS // 3:
                orders.write_text(order)

        try:
            train_small(run, steps=_STEPS, env=spec, callbacks=[give_order], **settings)
        except WorkerError as error:
            said = str(error)
        hold(said, f"{fault} in evaluation {evaluation} was not noticed")
        counted = re.search(r"after (\d+) of (\d+) episodes", said)
        hold(counted, f"{fault}: the number of episodes is not said: {said}")
        assert counted is not None
        played = _SLOTS if second else 0
        told = int(counted[1]), int(counted[2])
        hold(told == (played, _EPISODES), f"{fault} after {played} episodes: {said}")
        saved, due = load_run(run), 20 * (evaluation + 1)
        hold(saved.step == due, f"{fault} at step {due}, and saved is step {saved.step}")
        hold(len(saved.evaluations) == evaluation, f"{fault}: rows {saved.evaluations}")
        hold(all(row["episodes"] == _EPISODES for row in saved.evaluations), "a false count")
        resume_small(run, processes=1)
        hold_same_end(run, expected)

    # A step that hangs is given up after a second in place of a minute.
    impatient = partial(VectorEnvironment, step_timeout=1.0)
    with unittest.mock.patch.object(evaluations, "VectorEnvironment", impatient):
        yield [partial(trial, index) for index in range(wanted)]


ROWS = [
    Row(
        "environments",
        "an environment raises, hangs or returns NaN; an evaluation process is killed",
        "training state unharmed, true episode count reported",
        40,
        3,
        _broken,
    ),
]
