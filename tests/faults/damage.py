"""Checkpoints whose files are changed, cut short or taken away after they were saved."""

import contextlib
import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from floq.export import load_policy
from floq.runs.checkpoint import checkpoint_paths, newest_checkpoint
from floq.training import load_run
from tests.faults.learning import resume_small, train_small
from tests.faults.programs import end_of
from tests.faults.trials import Row, Trial, hold


def _flip(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    bit = int(random.integers(8 * len(content)))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def _cut_short(path: Path, random: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(random.integers(len(content)))])


def _delete(path: Path, random: np.random.Generator) -> None:
    path.unlink()


@contextlib.contextmanager
def _damaged(
    harm: Callable[[Path, np.random.Generator], None], folder: Path, wanted: int
) -> Iterator[Sequence[Trial]]:
    """A finished run whose newest checkpoint is harmed in one file, chosen evenly."""
    run, again = folder / "run", folder / "again"
    train_small(run, steps=40)
    expected = end_of(run)
    newest = checkpoint_paths(run / "checkpoints")[-1]
    names = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    previous = folder / "previous"
    shutil.copytree(run, previous)
    shutil.rmtree(previous / newest.relative_to(run))
    good = load_run(previous)
    template, expected_state = jax.eval_shape(lambda: good.state), _digest(good.state)

    def trial(random: np.random.Generator, *, going_on: bool) -> None:
        name = names[int(random.integers(len(names)))]
        content = (newest / name).read_bytes()
        harm(newest / name, random)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                # What `resume`, `load_run` and every command that reads a run calls.
                found = newest_checkpoint(run / "checkpoints", template)
                if going_on:
                    shutil.copytree(run, again)
                    resume_small(again)
        finally:
            (newest / name).write_bytes(content)
        said = " ".join(str(warning.message) for warning in caught)
        hold(newest.name in said and str(name) in said, f"{name} is not named: {said!r}")
        used = found is not None and _digest(found.state) == expected_state
        hold(used, f"{name}: not the previous checkpoint was used")
        if going_on:
            found_end = end_of(again)
            shutil.rmtree(again)
            hold(found_end == expected, f"going on after {name} was harmed ended differently")

    # Every twentieth also goes on from there, to the end that the run had.
    yield [partial(trial, going_on=index % 20 == 0) for index in range(wanted)]


def _digest(state: object) -> str:
    leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
    return hashlib.sha256(b"".join(leaves)).hexdigest()


def _row(name: str, done: str, full: int, harm: Callable[..., None]) -> Row:
    holds = "never silent: detected, the bad file named, the previous good checkpoint used"
    return Row(name, f"{done} a checkpoint", holds, full, 5, partial(_damaged, harm))


@contextlib.contextmanager
def _exported(
    harm: Callable[[Path, np.random.Generator], None], folder: Path, wanted: int
) -> Iterator[Sequence[Trial]]:
    """An exported policy of each format in turn, one file of which is harmed, chosen evenly."""
    train_small(folder / "run", steps=20)
    run = load_run(folder / "run")
    policies = [run.export(folder / kind, format=kind) for kind in ("jax", "numpy")]

    def trial(policy: Path, random: np.random.Generator) -> None:
        # The card is the user's to write on: nothing reads it.
        names = sorted(path.name for path in policy.iterdir() if path.name != "README.md")
        name = names[int(random.integers(len(names)))]
        content = (policy / name).read_bytes()
        harm(policy / name, random)
        said = ""
        try:
            load_policy(policy)
        except (ValueError, FileNotFoundError) as error:
            said = str(error)
        finally:
            (policy / name).write_bytes(content)
        named = str(policy) in said and (name in said or "manifest" in name)
        hold(named, f"{name} is not named: {said!r}")

    yield [partial(trial, policies[index % 2]) for index in range(wanted)]


ROWS = [
    *(
        Row(
            f"{name}-policy",
            f"{done} an exported policy",
            "never silent: refused before it acts, the folder and the bad file named",
            200,
            10,
            partial(_exported, harm),
        )
        for name, done, harm in (
            ("flipped", "a bit flipped in", _flip),
            ("cut-short", "a file cut short in", _cut_short),
            ("deleted", "a file deleted from", _delete),
        )
    ),
    _row("flipped", "a bit flipped in", 500, _flip),
    _row("cut-short", "a file cut short in", 200, _cut_short),
    _row("deleted", "a file deleted from", 100, _delete),
]
