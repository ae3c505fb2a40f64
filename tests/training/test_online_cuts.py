"""Training in the environment: a cut, or damage, leaves no trace."""

import dataclasses
import signal

import gymnasium
import numpy as np
import pytest
from online_runs import (
    ONLINE,
    SCHEDULE,
    assert_same_end,
    go_on,
    log_of,
    newest,
    run_tiny,
)

from floq.envs.make import EnvironmentSpec
from floq.envs.vector import WorkerError
from floq.runs.directory import read_rows
from floq.training import Interrupted, Online, Schedule, load_run
from floq.training import online_phase as online_module
from floq.training.collector import Collector


@pytest.mark.parametrize("in_ticks", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_cut_anywhere_it_ends_as_if_never_cut(uncut_online, tmp_path, monkeypatch, in_ticks):
    """Signals between steps, and in the middle of the updates of a step, leave no trace."""
    if in_ticks:
        # One update a dispatch, so that every step has a middle.
        monkeypatch.setattr(online_module, "DISPATCH_SECONDS", 1e-9)
    calls = []

    def execute_and_signal(self, actions):
        calls.append(1)
        if len(calls) in cuts:
            signal.raise_signal(signal.SIGTERM)
        return execute(self, actions)

    execute, cuts = Collector.execute, {1, 43, 44, 87}
    monkeypatch.setattr(Collector, "execute", execute_and_signal)
    with pytest.raises(Interrupted):
        run_tiny(tmp_path / "run")
    waiting = []
    for _ in cuts - {1}:
        waiting.append(len(newest(load_run(tmp_path / "run")).extra["actions"]))
        with pytest.raises(Interrupted):
            go_on(tmp_path / "run")
    run = go_on(tmp_path / "run")
    assert_same_end(run, uncut_online)
    # At the first step nothing is due, so that its middle is its end.
    assert waiting == ([0, 4, 4] if in_ticks else [0, 0, 0])


@pytest.mark.slow
def test_a_damaged_checkpoint_and_a_damaged_shard_leave_no_trace(uncut_online, tmp_path):
    """The checkpoint before is used; a shard has a second copy, which mends the first."""
    run_tiny(tmp_path / "run", online=dataclasses.replace(ONLINE, steps=160))
    folder = tmp_path / "run" / "checkpoints"
    flip(folder / "step_000000260" / "extra.safetensors")
    shard = sorted(folder.glob("rows/rows_*[0-9].safetensors"))[0]
    before = shard.read_bytes()
    flip(shard)
    with pytest.warns(RuntimeWarning) as caught:
        run = go_on(tmp_path / "run", online_steps=200)
    texts = [str(warning.message) for warning in caught]
    assert any("step_000000260: extra.safetensors is not what" in text for text in texts)
    assert any(f"{shard} is not what was saved; its other copy is" in text for text in texts)
    assert not shard.exists() or shard.read_bytes() == before
    assert_same_end(run, uncut_online)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_shard_with_both_copies_damaged_is_an_error(tmp_path):
    """Never silent: both files are named, and no earlier checkpoint can do without them."""
    run_tiny(tmp_path / "run", online=dataclasses.replace(ONLINE, steps=60))
    for path in (tmp_path / "run" / "checkpoints" / "rows").iterdir():
        flip(path)
    with (
        pytest.warns(RuntimeWarning, match=r"rows_.*safetensors and .*copy.safetensors are both"),
        pytest.raises(RuntimeError, match="are damaged"),
    ):
        go_on(tmp_path / "run", online_steps=200)


class Forgetful(gymnasium.Env):
    """Cannot be repeated: it draws from a generator that no seed reaches."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
    generator = np.random.default_rng()
    fail = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        if Forgetful.fail:
            raise ArithmeticError("the environment broke")
        return self.generator.normal(size=3).astype(np.float32), 0.0, False, False, {}


gymnasium.register("Forgetful-v0", Forgetful, max_episode_steps=1_000)
NOT_REPEATED = pytest.mark.filterwarnings("ignore:environment 'Forgetful-v0' does not repeat")


def interrupt_after(monkeypatch, count):
    calls = []

    def execute_and_signal(self, actions):
        calls.append(1)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)
        return execute(self, actions)

    execute = Collector.execute
    monkeypatch.setattr(Collector, "execute", execute_and_signal)


@NOT_REPEATED
def test_an_environment_that_cannot_come_back_begins_anew(tmp_path, monkeypatch):
    """A warning and a row say so, and the buffer has a cut episode there, not a wrong step."""
    spec = EnvironmentSpec("Forgetful-v0")
    interrupt_after(monkeypatch, 30)
    schedule = Schedule(log_interval=20, evaluation_interval=10**6, checkpoint_interval=10**6)
    settings = {"env": spec, "schedule": schedule, "reward_range": (-1.0, 1.0), "seeds": (0,)}
    online = Online(steps=60)
    monkeypatch.setattr("floq.evaluation.Evaluator.evaluate", lambda *_, **__: None)
    with pytest.raises(Interrupted):
        run_tiny(tmp_path / "run", online=online, steps=20, **settings)
    with pytest.warns(RuntimeWarning, match="environment 0 of seed 0 does not come back"):
        run = go_on(tmp_path / "run")
    (row,) = read_rows(run.directory / "events.jsonl")
    assert (row["event"], row["step"], row["environment"]) == ("episode_restarted", 50, 0)
    log = log_of(run)
    assert np.flatnonzero(log["lasts"]).tolist() == [30]
    np.testing.assert_array_equal(log["observations"][31], np.zeros(3))
    assert len(log["lasts"]) == 61


@NOT_REPEATED
def test_a_failing_environment_loses_nothing(tmp_path, monkeypatch):
    """What was learned before is saved, and the run goes on from there."""
    spec = EnvironmentSpec("Forgetful-v0")
    settings = {"env": spec, "reward_range": (-1.0, 1.0), "seeds": (0,)}
    monkeypatch.setattr("floq.evaluation.Evaluator.evaluate", lambda *_, **__: None)
    calls = []

    def execute_and_break(self, actions):
        calls.append(1)
        monkeypatch.setattr(Forgetful, "fail", len(calls) == 37)
        return execute(self, actions)

    execute = Collector.execute
    monkeypatch.setattr(Collector, "execute", execute_and_break)
    schedule = dataclasses.replace(SCHEDULE, checkpoint_interval=10**6)
    with pytest.raises(WorkerError, match="the environment broke"):
        run_tiny(tmp_path / "run", online=Online(steps=60), steps=20, schedule=schedule, **settings)
    assert load_run(tmp_path / "run").step == 20 + 36
    assert load_run(tmp_path / "run").state.step.tolist() == [20 + 36]
    monkeypatch.setattr(Forgetful, "fail", False)
    with pytest.warns(RuntimeWarning, match="does not come back"):
        assert go_on(tmp_path / "run").step == 80
