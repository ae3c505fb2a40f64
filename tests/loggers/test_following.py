"""Loggers are told what a run's files hold, and cannot harm it."""

import json
import shutil
import warnings

import numpy as np
import pytest

import floq
from floq.algorithms import bc
from floq.extras import MissingExtraError
from floq.loggers import find_loggers, replay
from floq.presets.changes import small

SCHEDULE = floq.Schedule(log_interval=2, checkpoint_interval=2, keep=9)


class Kept(floq.Logger):
    """Keeps what it is told."""

    def __init__(self):
        self.rows, self.shown, self.closed = [], {}, 0

    def start(self, directory, config):
        self.rows, self.config = [], config

    def log(self, step, row):
        if self.rows and self.rows[-1][0] == step:
            assert not self.rows[-1][1].keys() & row.keys()
            self.rows[-1][1].update(row)
        else:
            self.rows.append((step, dict(row)))

    def show(self, step, name, frames):
        self.shown[name] = frames

    def close(self):
        self.closed += 1


class Failing(Kept):
    def log(self, step, row):
        self.rows.append(step)
        raise OSError("no such server")


def train(maze_data, directory, **settings):
    settings = {"steps": 6, "schedule": SCHEDULE, "progress": False, **settings}
    config = small(bc.Config(batch_size=4), width=8, depth=1)
    return floq.train(config, maze_data, directory=directory, **settings)


def test_a_logger_gets_the_rows_of_the_files(finished):
    """Means over seeds, seeds apart, evaluations by policy, rates, in order of steps."""
    kept = Kept()
    replay(finished.directory, [kept])
    assert kept.config["seeds"] == [3, 5]
    assert kept.closed == 1
    assert [step for step, _ in kept.rows] == [2, 4]
    rows = [row for row in finished.metrics if row["step"] == 4]
    told = kept.rows[1][1]
    losses = [row["critic/flow_loss"] for row in rows]
    assert told["critic/flow_loss"] == pytest.approx(np.mean(losses))
    assert told["seed_5/critic/flow_loss"] == losses[1]
    by_policy = {
        policy: [row["return"] for row in finished.evaluations if row["policy"] == policy]
        for policy in ("floq", "bc")
    }
    assert told["evaluation/return"] == pytest.approx(np.mean(by_policy["floq"][2:]))
    assert told["seed_3/evaluation/bc/return"] == by_policy["bc"][2]
    assert told["speed/updates_per_second"] > 0
    assert {frames.dtype for frames in kept.shown.values()} == {np.dtype(np.uint8)}
    assert {"report/value map", "report/value along", "report/flow"} <= kept.shown.keys()


def test_a_resume_shows_the_curve_of_an_uncut_run(maze_data, tmp_path):
    """Rows after the checkpoint that it goes on from are gone, and come once more."""

    def cut(event):
        if event.kind == "log" and event.step == 4:
            raise KeyError("cut")

    kept, uncut = Kept(), Kept()
    with pytest.raises(KeyError):
        train(maze_data, tmp_path / "run", loggers=[kept], callbacks=[cut])
    assert [step for step, _ in kept.rows] == [2, 4]
    # Another program wrote on after the checkpoint, as a killed one would have.
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps(json.loads(lines[-1]) | {"step": 5})]) + "\n")
    floq.resume(tmp_path / "run", dataset=maze_data, progress=False, loggers=[kept])
    train(maze_data, tmp_path / "uncut", loggers=[uncut])

    def figures(logger):
        return [
            (step, {name: value for name, value in row.items() if not name.startswith("speed/")})
            for step, row in logger.rows
        ]

    assert [step for step, _ in kept.rows] == [2, 4, 6]
    assert figures(kept) == figures(uncut)
    assert kept.closed == 2


def test_a_logger_that_fails_is_named_once_and_left_alone(maze_data, tmp_path):
    """Training goes on to its end, and so do the other loggers."""
    failing, kept = Failing(), Kept()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(maze_data, tmp_path / "run", loggers=[failing, kept])
    said = [str(one.message) for one in caught]
    assert len(said) == 1
    assert "The logger Failing failed (OSError: no such server)" in said[0]
    assert failing.rows == [2]
    assert failing.closed == 0
    assert [step for step, _ in kept.rows] == [2, 4, 6]
    assert run.step == 6


def test_loggers_are_closed_where_rows_cannot_be_read(finished, tmp_path):
    """Once: what follows a damaged row is not told, but what is open must not stay so."""
    damaged, kept = tmp_path / "run", Kept()
    shutil.copytree(finished.directory, damaged)
    with (damaged / "metrics.jsonl").open("a") as file:
        file.write("no row\n")
    with pytest.warns(UserWarning, match="Reading the rows"):
        assert replay(damaged, [kept])
    assert (kept.rows, kept.closed) == ([], 1)


def test_what_is_no_logger_is_refused_before_any_work(maze_data, tmp_path, monkeypatch):
    """An unknown name, something else, and a package that is not installed."""
    with pytest.raises(ValueError, match="no logger is called 'tensorbord': there are tensorboard"):
        train(maze_data, tmp_path / "run", loggers=["tensorbord"])
    for wrong in (3, Kept):
        with pytest.raises(ValueError, match=r"is no logger: give an instance"):
            find_loggers([wrong])
        with pytest.raises(ValueError, match=r"is no logger: give an instance"):
            find_loggers(wrong)
    assert find_loggers(kept := Kept()) == [kept]
    monkeypatch.setattr("importlib.util.find_spec", lambda *names: None)
    with pytest.raises(MissingExtraError, match=r"floq\[wandb\]"):
        train(maze_data, tmp_path / "run", loggers=["wandb"])
    assert not (tmp_path / "run").exists()
