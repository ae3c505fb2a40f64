"""Going on with a run: a cut leaves no trace, and what does not fit is refused."""

import dataclasses
import json
import signal

import jax
import numpy as np
import pytest
import tiny_algorithm as tiny
from offline_runs import (
    DATASET,
    LIMIT,
    ROWS,
    SCHEDULE,
    assert_same_end,
    go_on,
    run_tiny,
    state_bytes,
)

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.critics.scalar import ScalarCriticConfig
from floq.envs.make import EnvironmentSpec, make_env
from floq.evaluation import Evaluator
from floq.networks import NetworkConfig
from floq.policies.flow import FlowPolicyConfig
from floq.runs.checkpoint import checkpoint_paths
from floq.training import Interrupted, Schedule, load_run, resume


@pytest.mark.parametrize("episodes_before", [0, 1])
def test_interrupted_in_an_evaluation(uncut, tmp_path, monkeypatch, episodes_before):
    """The step is saved, the evaluation is made up for first, and the end is that of an uncut run.

    With one evaluation done before the signal, its row must not come twice.
    """
    evaluate, calls = Evaluator.evaluate, []

    def evaluate_and_signal(self, policy, **settings):
        calls.append(settings["seed"])
        if len(calls) == 1 + episodes_before:
            signal.raise_signal(signal.SIGINT)
        return evaluate(self, policy, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", evaluate_and_signal)
        with pytest.raises(Interrupted, match=r"floq\.resume\(") as caught:
            run_tiny(tmp_path / "run")
    assert caught.value.step == 200
    assert load_run(tmp_path / "run").step == 200
    assert load_run(tmp_path / "run").evaluations == []
    go_on(tmp_path / "run")
    assert_same_end(tmp_path / "run", uncut)


def test_a_failing_evaluation_loses_no_update(uncut, tmp_path, monkeypatch):
    """If a simulator breaks down, the step is saved all the same, and the run can go on."""

    def fail(self, policy, **settings):
        raise RuntimeError("the simulator broke")

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", fail)
        with pytest.raises(RuntimeError, match="simulator broke"):
            run_tiny(tmp_path / "run", schedule=dataclasses.replace(SCHEDULE, keep=9))
    assert load_run(tmp_path / "run").step == 200
    go_on(tmp_path / "run")
    assert_same_end(tmp_path / "run", uncut)


def test_rows_after_the_checkpoint_are_taken_back(uncut, tmp_path):
    """Rows that a killed process wrote after its last checkpoint, whole or torn, come once."""
    run_tiny(tmp_path / "run", steps=200)
    for name in ROWS:
        lines = (uncut.directory / name).read_text().splitlines(keepends=True)
        (tmp_path / "run" / name).write_text("".join(lines[:-1]) + lines[-1][:20])
    go_on(tmp_path / "run", steps=400)
    assert_same_end(tmp_path / "run", uncut)


def test_half_the_rows_of_the_checkpoints_step_are_replaced(uncut, tmp_path):
    """A kill between the rows of two seeds leaves one: the step is evaluated anew, for both."""
    run_tiny(tmp_path / "run", steps=200)
    for name in ROWS:
        path = tmp_path / "run" / name
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    go_on(tmp_path / "run", steps=400)
    assert_same_end(tmp_path / "run", uncut)


def test_a_run_without_a_checkpoint_starts_again(uncut, tmp_path):
    """Killed before its first checkpoint, a run is resumed from the start."""
    run_tiny(tmp_path / "run", steps=50)
    for path in checkpoint_paths(tmp_path / "run" / "checkpoints"):
        path.rename(path.with_suffix(".tmp"))
    with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
        load_run(tmp_path / "run")
    go_on(tmp_path / "run", steps=400)
    assert_same_end(tmp_path / "run", uncut)


def test_a_damaged_checkpoint_is_passed_over(uncut, tmp_path):
    """With a flipped bit in the newest checkpoint the run goes on from the one before."""
    run_tiny(tmp_path / "run", steps=200)
    path = tmp_path / "run" / "checkpoints" / "step_000000200" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="step_000000200: state.safetensors is not"):
        go_on(tmp_path / "run", steps=400)
    assert_same_end(tmp_path / "run", uncut)


def test_an_extended_run_is_a_longer_run(uncut, tmp_path):
    """Steps added later continue the window of the metrics; the old last row is the only trace."""
    run_tiny(tmp_path / "run", steps=370)
    extended = go_on(tmp_path / "run", steps=400)
    assert state_bytes(tmp_path / "run") == state_bytes(uncut.directory)
    assert [row for row in extended.metrics if row["step"] != 370] == uncut.metrics
    assert load_run(tmp_path / "run").config.steps == 400
    with pytest.raises(ValueError, match="at step 400, so steps cannot be 10"):
        go_on(tmp_path / "run", steps=10)


def test_steps_are_whole_however_they_are_written(uncut, tmp_path):
    """Whole floats and numpy's numbers train and extend the same run; others leave it as it was."""
    settings = {"seeds": np.array([3.0, 5.0]), "steps": np.float64(370.0)}
    run_tiny(tmp_path / "run", **settings)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for steps in ("400", 400.5, float("nan"), True):
        with pytest.raises(ValueError, match=f"steps is {steps!r}.* whole number"):
            go_on(tmp_path / "run", steps=steps)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    go_on(tmp_path / "run", steps=4e2)
    assert repr(load_run(tmp_path / "run").config) == repr(uncut.config)
    assert state_bytes(tmp_path / "run") == state_bytes(uncut.directory)


def test_a_finished_run_says_so(uncut, capsys):
    """Resuming a finished run changes nothing, and needs no data."""
    before = {path: path.stat().st_mtime_ns for path in uncut.directory.glob("checkpoints/*/*")}
    run = resume(uncut.directory, progress=False)
    assert "is finished: all 400 updates are done" in capsys.readouterr().out
    assert run.step == 400
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_dataset_is_refused(tmp_path):
    """A run goes on with its own data only, and says which way out there is."""
    run_tiny(tmp_path / "run", steps=50, env=None)
    other = tiny.make_dataset(seed=1)
    with pytest.raises(ValueError, match="was trained on another dataset: its fingerprint"):
        resume(tmp_path / "run", dataset=other, steps=60)
    with pytest.raises(ValueError, match="not started from one of floq's tasks"):
        resume(tmp_path / "run", steps=60)


def test_the_data_of_a_task_is_loaded_again(tmp_path, monkeypatch):
    """A run of one of floq's tasks is resumed from its directory alone."""
    task = "pointmaze-medium-navigate-singletask-v0"
    run_tiny(tmp_path / "run", steps=50, env=None, task=task)
    loaded = []

    def load_task(name, *, directory, device_memory):
        assert device_memory is None  # As all of it was in memory before.
        loaded.append(name)
        return DATASET, make_env("Pendulum-v1")

    monkeypatch.setattr("floq.training.sources.load_task", load_task)
    run = resume(tmp_path / "run", steps=60, progress=False)
    assert loaded == [task]
    assert run.state.step.tolist() == [60, 60]


def test_other_versions_are_reported_and_recorded(tmp_path):
    """Going on under another version is allowed, with a warning, and leaves a record."""
    run_tiny(tmp_path / "run", steps=50, env=None)
    path = tmp_path / "run" / "versions.json"
    (record,) = json.loads(path.read_text())
    path.write_text(json.dumps([{**record, "jax": "0.0.1"}]))
    with pytest.warns(RuntimeWarning, match=rf"jax was 0\.0\.1, is {jax.__version__}"):
        go_on(tmp_path / "run", steps=60)
    assert [entry["step"] for entry in json.loads(path.read_text())] == [0, 50]
    go_on(tmp_path / "run", steps=70)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda config: config.update(colour=1), "no setting named colour"),
        (lambda config: config["schedule"].pop("keep"), "schedule lacks keep"),
        (lambda config: config["config"].update(noise="much"), "config.noise is 'much'"),
        (lambda config: config.update(algorithm="none"), "algorithm is 'none': there is floq"),
    ],
)
def test_an_edited_config_is_an_error(tmp_path, edit, message):
    """A config.json that says something else than floq wrote is refused, and the key is named."""
    run_tiny(tmp_path / "run", steps=50, env=None)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        go_on(tmp_path / "run")


@pytest.mark.slow
def test_floq_itself_resumes_to_the_same_bits(tmp_path):
    """The real algorithm, with both policies evaluated: cut at step 4, it ends as the uncut run."""
    network = NetworkConfig((8,), layer_norm=True)
    config = floq.Config(
        critic=FlowCriticConfig(integration_steps=2, noise_samples=2, network=network),
        distilled=ScalarCriticConfig(network=network),
        policy=FlowPolicyConfig(flow_steps=2, network=network),
        batch_size=8,
    )
    schedule = Schedule(
        log_interval=3,
        evaluation_interval=6,
        evaluation_episodes=1,
        evaluate_bc=True,
        checkpoint_interval=4,
    )
    uncut = run_tiny(tmp_path / "a", config=config, steps=6, schedule=schedule, seeds=(0,))
    run_tiny(tmp_path / "b", config=config, steps=4, schedule=schedule, seeds=(0,))
    # As if it had been cut: an uncut run neither logs nor evaluates at step 4.
    for name in ROWS:
        path = tmp_path / "b" / name
        rows = [line for line in path.read_text().splitlines() if '"step": 4' not in line]
        path.write_text("".join(f"{row}\n" for row in rows))
    go_on(tmp_path / "b", steps=6)
    assert_same_end(tmp_path / "b", uncut)
    assert [row["policy"] for row in uncut.evaluations] == ["floq", "bc"]


def test_a_run_goes_on_with_a_moved_file_and_environment(uncut, tmp_path):
    """It knows the file that it was given; both may lie elsewhere later, and must fit."""
    DATASET.save(tmp_path / "data.npz")
    spec = EnvironmentSpec("Pendulum-v1", LIMIT | {"action_low": -2.0, "action_high": 2.0})
    run = run_tiny(tmp_path / "run", steps=200, dataset=tmp_path / "data.npz", env=spec)
    assert run.config.data == str(tmp_path / "data.npz")
    assert not run.config.needs_dataset
    (tmp_path / "data.npz").rename(tmp_path / "moved.npz")
    with pytest.raises(FileNotFoundError, match=r"data\.npz.*--data PATH"):
        resume(tmp_path / "run", steps=400)
    with pytest.raises(ValueError, match="shapes"):
        go_on(tmp_path / "run", steps=400, env="MountainCarContinuous-v0")
    with pytest.raises(ValueError, match="-1 and 1 stand for -2 and 2 in the data"):
        go_on(tmp_path / "run", steps=400, env=make_env("Pendulum-v1", action_low=-1.0))
    run = resume(
        tmp_path / "run",
        dataset=tmp_path / "moved.npz",
        env=make_env("Pendulum-v1", **LIMIT),
        steps=400,
        processes=0,
        progress=False,
    )
    assert run.config.data == str(tmp_path / "moved.npz")
    assert run.config.environment.kwargs == LIMIT | {"rescale_actions": [-1.0, 1.0]}
    assert_same_end(tmp_path / "run", uncut)


def test_a_run_of_a_former_version_has_no_place_of_its_data(uncut, tmp_path):
    """Its config lacks the newer entries, and it is read and resumed all the same."""
    run_tiny(tmp_path / "run", steps=200)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["data"], config["action_bounds"]
    config["environment"]["kwargs"] = LIMIT
    path.write_text(json.dumps(config))
    go_on(tmp_path / "run", steps=400)
    assert_same_end(tmp_path / "run", uncut)


@pytest.mark.parametrize("has_file", [False, True])
def test_an_interrupted_run_says_what_goes_on_with_it(tmp_path, monkeypatch, has_file):
    """A command where the run knows its data, else the line of Python that works."""
    if has_file:
        DATASET.save(tmp_path / "data.npz")

    def evaluate_and_signal(self, policy, **settings):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate_and_signal)
    with pytest.raises(Interrupted) as caught:
        run_tiny(tmp_path / "run", dataset=tmp_path / "data.npz" if has_file else DATASET)
    path = tmp_path / "run"
    expected = f"floq resume {path}" if has_file else f"floq.resume('{path}', dataset=dataset)"
    assert caught.value.command == expected
    assert str(caught.value).endswith(expected)
