"""Numbers that are not finite, in a batch, in a gradient or in a loss."""

import contextlib
import dataclasses
import re
import shutil
import unittest.mock
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floq.algorithms import REGISTERED, floq
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import METRICS, read_rows
from floq.training import Diverged, load_run
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups
from tests.faults.learning import CONFIG, SCHEDULE, make_dataset, train_small
from tests.faults.trials import Row, Trial, hold

_SEED, _STEPS = 3, 400
_VALUES = (np.nan, np.inf, -np.inf)
_SENTINELS = (-0.125, -0.25, -0.375)
"""Rewards at which the poisoned algorithms let the value of the same place in."""


@jax.custom_vjp
def _poison_gradient(value: jax.Array, poison: jax.Array) -> jax.Array:
    """The value as it is, with its gradient times the poison."""
    return value


_poison_gradient.defvjp(
    lambda value, poison: (value, poison),
    lambda poison, slope: (slope * poison, jnp.zeros_like(poison)),
)


class _Poisoned:
    """The real algorithm, in which one part is not finite where a batch holds a sentinel."""

    Config = floq.Config
    init = staticmethod(floq.init)
    act = staticmethod(floq.act)

    def __init__(self, part: str):
        self._part = part

    def update(self, config: Any, state: Any, batch: Any, *, key: Any) -> Any:
        """The algorithm's own update, with a loss that is or hides what it should not."""
        hits = [jnp.any(batch.rewards == sentinel) for sentinel in _SENTINELS]
        poison = jnp.select(hits, jnp.array(_VALUES, jnp.float32), jnp.float32(1))
        loss = floq.loss

        def poisoned(*arguments: Any) -> Any:
            total, metrics = loss(*arguments)
            if self._part == "loss":
                return total * poison, {name: value * poison for name, value in metrics.items()}
            return _poison_gradient(total, poison), metrics

        with unittest.mock.patch.object(floq, "loss", poisoned):
            return floq.update(config, state, batch, key=key)


class _Recorder:
    """An algorithm that learns nothing, and keeps which rows it was shown first when."""

    Config = floq.Config
    init = staticmethod(floq.init)
    act = staticmethod(floq.act)

    @staticmethod
    def update(config: Any, state: Any, batch: Any, *, key: Any) -> Any:
        """Notes the number of the update at the rows of the batch."""
        step, first = state
        return (step + 1, first.at[batch.observations[:, 0].astype(int)].min(step)), {}


def _first_updates() -> np.ndarray:
    """For each row of the data, the first update that learns from a transition out of it."""
    dataset = make_dataset()
    rows = len(dataset.rewards)
    numbers = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.float32)[:, None], (rows, 3))

    start = jnp.zeros(1, jnp.int32), jnp.full((1, rows), _STEPS, jnp.int32)
    numbered = dataclasses.replace(dataset, observations=numbers)
    groups = SeedGroups(Learner.of(_Recorder(), CONFIG), (_SEED,), start, numbered)
    groups.advance(0, _STEPS)
    return np.asarray(groups.state[1][0])


@contextlib.contextmanager
def _poisonings(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    first_updates = _first_updates()
    learned = np.flatnonzero(first_updates < _STEPS - SCHEDULE.log_interval - 1)
    poisoned = {part: _Poisoned(part) for part in ("loss", "gradient")}
    directory = folder / "run"

    def trial(index: int, random: np.random.Generator) -> None:
        part = ("batch", "gradient", "loss")[index % 3]
        place = index // 3 % 3
        row = int(random.choice(learned))
        if part == "batch":
            field = str(random.choice(["observations", "actions", "masks"]))
            value, algorithm = _VALUES[place], floq
        else:
            field, value, algorithm = "rewards", _SENTINELS[place], poisoned[part]
        # Set on the device: the checks of data would have refused it.
        values = getattr(make_dataset(), field).at[row].set(value)
        dataset = dataclasses.replace(make_dataset(), **{field: values})
        schedule = dataclasses.replace(
            SCHEDULE, checkpoint_interval=int(random.choice([7, 10, 60]))
        )
        shutil.rmtree(directory, ignore_errors=True)
        said = ""
        with unittest.mock.patch.dict(REGISTERED, floq=algorithm):
            try:
                train_small(directory, steps=_STEPS, seed=_SEED, dataset=dataset, schedule=schedule)
            except Diverged as error:
                said = str(error)
        hold(said, f"{_VALUES[place]} in a {part} was not noticed")
        _hold_named(said, first=int(first_updates[row]), directory=directory)
        _hold_finite(directory)

    yield [partial(trial, index) for index in range(wanted)]


def _hold_named(said: str, *, first: int, directory: Path) -> None:
    """The message says what, where, and the last good step; in time, and truly.

    What follows a state out of a batch can show first in the update before: the next state.
    """
    found = re.match(
        r"(?:Metric )?\S+ of seed 3 (?:became \S+ between updates \d+ and|is not finite at step) "
        r"(\d+)\. Last good checkpoint: (none|\S*step_(\d+))\.",
        said,
    )
    hold(found, f"it does not say what, where and the last good step: {said}")
    assert found is not None
    caught, last_good = int(found[1]), int(found[3] or 0)
    limit = first + 1 + SCHEDULE.log_interval
    hold(caught <= limit, f"update {first} was poisoned, and only step {caught} was refused")
    hold(last_good <= first, f"update {first} was poisoned, and step {last_good} is called good")
    saved = checkpoint_paths(directory / "checkpoints")
    named = found[2] if found[2] != "none" else None
    hold(named == (str(saved[-1]) if saved else None), f"not the newest checkpoint: {said}")


def _hold_finite(directory: Path) -> None:
    if checkpoint_paths(directory / "checkpoints"):
        for leaf in jax.tree.leaves(load_run(directory).state):
            hold(np.isfinite(leaf).all(), "what is not finite was saved")
    rows = read_rows(directory / METRICS)
    hold(np.isfinite([list(row.values()) for row in rows]).all(), f"a bad row: {rows}")


ROWS = [
    Row(
        "not-finite",
        "NaN or infinity in a batch, a gradient or a loss",
        "caught within a log interval, never saved; the run stops with what, where and the last "
        "good checkpoint",
        30,
        1,
        _poisonings,
    ),
]
