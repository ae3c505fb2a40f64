"""What training tells functions of the user's, and what becomes of one that raises."""

import jax
import numpy as np
import pytest
import tiny_algorithm as tiny
from offline_runs import PENDULUM

import floq
from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.runs.states import states_template
from floq.training.callbacks import checked

DATASET = tiny.make_dataset()
SCHEDULE = floq.Schedule(
    log_interval=20, evaluation_interval=40, evaluation_episodes=1, checkpoint_interval=20, keep=9
)
SETTINGS = {"processes": 0, "progress": False}


def train(directory, callback=None, **settings):
    settings = {"seeds": (3, 5), "steps": 80, "schedule": SCHEDULE, **settings}
    return floq.train(
        tiny.Config(),
        settings.pop("dataset", DATASET),
        directory=directory,
        env=PENDULUM,
        callbacks=[] if callback is None else [callback],
        **settings,
        **SETTINGS,
    )


def files(run):
    """What a run has learned and written, to the bit."""
    path = run.directory
    newest = checkpoint_paths(path / "checkpoints")[-1]
    return [
        file.read_bytes()
        for file in (
            newest / "state.safetensors",
            path / "metrics.jsonl",
            path / "evaluations.jsonl",
        )
    ]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """A run without callbacks."""
    return train(tmp_path_factory.mktemp("uncut") / "run")


def test_events_come_at_their_steps_with_what_the_files_hold(uncut, tmp_path):
    """Log, evaluation, checkpoint; rows as written, the state as saved; the run is the same."""
    events = []
    run = train(tmp_path / "run", events.append)
    assert [(event.kind, event.step) for event in events] == [
        ("log", 20),
        ("checkpoint", 20),
        ("log", 40),
        ("evaluation", 40),
        ("checkpoint", 40),
        ("log", 60),
        ("checkpoint", 60),
        ("log", 80),
        ("evaluation", 80),
        ("checkpoint", 80),
    ]
    told = {
        kind: [row for event in events if event.kind == kind for row in event.rows]
        for kind in ("log", "evaluation")
    }
    assert told == {"log": run.metrics, "evaluation": run.evaluations}
    assert files(run) == files(uncut)
    algorithm = run.algorithm
    template = states_template(algorithm, run.config.config, run.config.statistics, (3, 5))
    for event in events:
        assert (event.run.directory, event.run.step) == (run.directory, event.step)
        saved = load_checkpoint(
            run.directory / "checkpoints" / f"step_{event.step:09d}", template
        ).state
        jax.tree.map(np.testing.assert_array_equal, event.run.state, saved)


@pytest.mark.parametrize("kind", ["log", "evaluation", "checkpoint"])
def test_an_exception_is_the_users_own_and_loses_nothing(uncut, tmp_path, kind):
    """It comes out as it is; the step is saved, and the run goes on to the uncut one's bits."""
    told = []

    def fail(event):
        told.append((event.kind, event.step))
        if event.step >= 40 and event.kind == kind:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        train(tmp_path / "run", fail)
    # Of the saving that follows nobody is told, who would raise once more.
    assert caught.value.__context__ is None
    assert told[-1] == (kind, 40)
    assert floq.load_run(tmp_path / "run").step == 40
    run = floq.resume(tmp_path / "run", dataset=DATASET, callbacks=[told.append], **SETTINGS)
    assert files(run) == files(uncut)
    assert run.step == told[-1].step == 80


@pytest.mark.parametrize("callbacks", [print, [3], "print"])
def test_what_cannot_be_called_is_refused(callbacks):
    """A function in place of a list of them, too."""
    with pytest.raises(TypeError, match=r"callbacks is .*: give a list of functions"):
        checked(callbacks)


def test_it_is_told_of_both_phases(tmp_path):
    """Online steps are counted on; a log before the first update has no rows, as no file has."""
    events = []
    run = train(
        tmp_path / "run",
        events.append,
        seeds=(3,),
        steps=20,
        online=floq.Online(steps=40, warmup=25),
        reward_range=(-20.0, 0.0),
    )
    logs = [event for event in events if event.kind == "log"]
    assert [event.step for event in logs] == [20, 40, 60]
    assert [len(event.rows) for event in logs] == [1, 0, 1]
    assert [row for event in logs for row in event.rows] == run.metrics
    assert events[-1].run.state.step == run.state.step
