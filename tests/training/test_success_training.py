"""Runs on data that is read by success, in an environment that is rewarded likewise."""

import dataclasses

import numpy as np
import pytest

import floq
from floq.cli import main
from floq.runs.directory import read_config, read_rows
from floq.training.preparation import with_successes

POINT = """
import gymnasium
import numpy as np


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        shown = np.full(1, self.time, np.float32)
        return shown, -5.0, False, False, {"success": self.time == 4}


def make():
    return gymnasium.wrappers.TimeLimit(Point(), 8)


def mute():
    return gymnasium.wrappers.TimeLimit(Mute(), 8)


class Mute(Point):
    def step(self, action):
        return *super().step(action)[:4], {}
"""
WORDS = [
    *("--algorithm", "bc", "--config.batch-size", "4", "--log-interval", "2"),
    *("--checkpoint-interval", "2", "--evaluation-interval", "2", "--evaluation-episodes", "2"),
    *("--processes", "1"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with data of eight steps an episode, which is solved at the fourth."""
    (tmp_path / "solved_point.py").write_text(POINT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    times = np.tile(np.arange(8.0), 5)[:, None]
    np.savez(
        "own.npz",
        observations=times,
        actions=np.random.default_rng(0).uniform(-1, 1, (40, 1)),
        next_observations=times + 1,
        successes=times[:, 0] == 3,
    )
    return tmp_path


def evaluated(run):
    """Returns and lengths of a run's evaluations."""
    rows = read_rows(run / "evaluations.jsonl")
    return {(row["return"], row["length"], row["success"]) for row in rows}


@pytest.mark.filterwarnings("ignore:.*")
def test_data_and_environment_are_rewarded_alike(folder):
    """`--rewards success` has the run evaluated by it, resumed, fine-tuned and with another one."""
    run, online = folder / "run", folder / "online"
    words = ["--data", "own.npz", "--env", "solved_point:make", "--rewards", "success", *WORDS]
    assert main(["train", *words, "--steps", "2", "--directory", str(run)]) == 0
    config = read_config(run)
    assert config.environment is not None
    assert config.environment.kwargs["success_reward"] is True
    assert config.reading == floq.Reading(rewards="success")
    assert (config.statistics.reward_min, config.statistics.reward_max) == (0, 1)
    assert main(["resume", str(run), "--steps", "4", "--processes", "0"]) == 0
    moved = ["--env", "solved_point:make", "--processes", "0"]
    assert main(["resume", str(run), "--steps", "6", *moved]) == 0
    assert read_config(run).environment == config.environment
    # Episodes end at the success, of which the whole return is.
    assert evaluated(run) == {(1.0, 4.0, 1.0)}
    words = ["--data", "own.npz", "--rewards", "success", *moved, "--steps", "8"]
    words += ["--directory", str(online), "--warmup", "4"]
    assert main(["finetune", str(run), *words]) == 0
    assert read_config(online).environment == config.environment
    assert evaluated(online) == {(1.0, 4.0, 1.0)}


@pytest.mark.filterwarnings("ignore:.*")
def test_an_environment_without_successes_stops_the_run(folder, capsys):
    """Before anything is written, with the way out."""
    words = ["--data", "own.npz", "--env", "solved_point:mute", "--rewards", "success", *WORDS]
    assert main(["train", *words, "--steps", "2", "--directory", "run"]) == 2
    assert "leave out success_reward (--rewards success)" in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_only_data_that_is_read_so_changes_the_environment():
    """Other readings leave it as it is, and so do goals, which reward by themselves."""
    spec = floq.envs.EnvironmentSpec("Pendulum-v1", {"gain": 2})
    success = floq.Reading(rewards="success")
    assert with_successes(spec, success, None).kwargs == {"gain": 2, "success_reward": True}
    others = [None, floq.Reading(), dataclasses.replace(success, rewards="demonstrations")]
    assert [with_successes(spec, one, None) for one in others] == [spec] * 3
    assert with_successes(spec, success, floq.Goals()) == spec
