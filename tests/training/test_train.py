"""Training on data: what a run computes, leaves and refuses."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_algorithm as tiny
from offline_runs import DATASET, LIMIT, go_on, run_tiny

from floq.envs.make import make_env
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import RunDirectory
from floq.training import Diverged, Schedule, load_run


def test_a_run_leaves_what_it_should(uncut):
    """Rows at the right steps for every seed, the last two checkpoints, settings and versions."""
    steps = [(row["step"], row["seed"]) for row in uncut.metrics]
    assert steps == [(step, seed) for step in (100, 200, 300, 400) for seed in (3, 5)]
    evaluated = [(row["step"], row["seed"], row["policy"]) for row in uncut.evaluations]
    assert evaluated == [(step, seed, "tiny") for step in (200, 400) for seed in (3, 5)]
    names = [path.name for path in checkpoint_paths(uncut.directory / "checkpoints")]
    assert names == ["step_000000350", "step_000000400"]
    (versions,) = json.loads((uncut.directory / "versions.json").read_text())
    assert (versions["step"], versions["jax"]) == (0, jax.__version__)
    assert uncut.state.step.tolist() == [400, 400]


def test_metrics_are_means_over_their_window(uncut, tmp_path):
    """Each row holds the mean of the updates since the former one, whatever was saved between."""
    every = Schedule(log_interval=1, checkpoint_interval=400)
    single = run_tiny(tmp_path / "run", schedule=every, env=None).metrics
    for row in uncut.metrics:
        window = [
            other["loss"]
            for other in single
            if other["seed"] == row["seed"] and row["step"] - 100 < other["step"] <= row["step"]
        ]
        assert len(window) == 100
        assert row["loss"] == pytest.approx(np.mean(window), rel=1e-5)


def test_load_run_gives_the_same_policy(uncut):
    """A run read from its directory has the config, the state and the actions of the run itself."""
    loaded = load_run(uncut.directory)
    assert loaded.config == uncut.config
    assert loaded.step == 400
    keys = jax.random.split(jax.random.key(0), 4)
    observations = DATASET.observations[:4]
    for seed in (3, 5):
        actions = loaded.policy_of(seed)(observations, keys)
        np.testing.assert_array_equal(actions, uncut.policy_of(seed)(observations, keys))
        expected = tiny.act(tiny.Config(), uncut.state_of(seed), observations, keys=keys)
        np.testing.assert_allclose(actions, expected, rtol=1e-6)
    np.testing.assert_array_equal(
        loaded.policy(observations, keys), loaded.policy_of(3)(observations, keys)
    )
    with pytest.raises(ValueError, match="has no seed 4"):
        loaded.policy_of(4)


def test_seeds_side_by_side_leave_the_rows_of_seeds_alone(uncut, tmp_path):
    """A seed's rows are the same in a run of its own."""
    alone = run_tiny(tmp_path / "run", seeds=None, seed=5)
    assert alone.metrics == [row for row in uncut.metrics if row["seed"] == 5]
    assert alone.evaluations == [row for row in uncut.evaluations if row["seed"] == 5]


def test_the_next_training_of_the_same_settings_compiles_nothing(tmp_path):
    """Other seeds, or data of the same shape, are programs of the first one."""
    compiled = []

    def listen(event, _seconds, **more):
        if event.endswith("backend_compile_duration"):
            compiled.append(more["fun_name"])

    settings = {"config": tiny.Config(noise=0.11), "env": None, "steps": 4, "seeds": None}
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run_tiny(tmp_path / "first", **settings)
        assert compiled
        compiled.clear()
        run_tiny(tmp_path / "second", seed=7, dataset=tiny.make_dataset(), **settings)
        assert compiled == []
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_divergence_is_named_and_never_saved(tmp_path):
    """A loss that overflows stops the run with its name, seed and window; no row, no checkpoint."""
    with pytest.raises(
        Diverged, match=r"Metric loss of seed 3 became inf between updates 0 and \d+\. .*step_0+\d"
    ) as caught:
        run_tiny(
            tmp_path / "run",
            config=tiny.Config(learning_rate=1.7),
            schedule=Schedule(log_interval=1_000, checkpoint_interval=1),
        )
    assert "Last good checkpoint" in str(caught.value)
    saved = load_run(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved.state))
    assert saved.metrics == []


def test_parameters_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    """A NaN that no metric shows is found when the state is saved."""

    def update(config, state, batch, *, key):
        new, metrics = original(config, state, batch, key=key)
        broken = jax.numpy.where(state.step < 60, new.average, jax.numpy.nan)
        return new._replace(average=broken), metrics

    original = tiny.update
    monkeypatch.setattr(tiny, "update", update)
    with pytest.raises(Diverged, match=r"average of seed 3 is not finite at step 100.*000050"):
        run_tiny(tmp_path / "run", env=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (1, 1)}, "all of them different"),
        ({"seeds": ()}, "one or more"),
        ({"seed": 1, "seeds": (2,)}, r"seed is 1 and seeds are \(2,\): give one"),
        ({"config": tiny.Config(batch_size=2**40)}, "batch_size is 1,099,511,627,776.* GB"),
        ({"seeds": (-1,)}, "whole numbers from 0"),
        ({"steps": 0}, "steps is 0"),
        ({"task": "no-such-task"}, "no task is named 'no-such-task'.* leave task out"),
        ({"env": None, "schedule": Schedule(evaluate_bc=True)}, "there is no env"),
        ({"env": "NoSuchEnvironment-v0"}, "unknown environment"),
        ({"steps": "100"}, "steps is '100'.* whole number"),
        ({"steps": 100.5}, "steps is 100.5.* whole number"),
        ({"seeds": (0, "1")}, r"seeds\[1\] is '1'"),
        ({"reward_range": (0.0, float("nan"))}, r"reward_range\[1\] is nan"),
        ({"processes": -1}, "processes is -1"),
        ({"schedule": {}}, "schedule is {}.* Schedule"),
        ({"config": tiny.Config(learning_rate=1)}, "'learning_rate'|learning_rate=1,.*read back"),
        ({"env": "MountainCarContinuous-v0"}, r"shapes \(\(2,\), \(1,\)\), the dataset has"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(tmp_path, settings, message):
    """Each is an error at once, and leaves no directory behind."""
    with pytest.raises(ValueError, match=message):
        run_tiny(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_arguments_of_another_kind_are_named(tmp_path):
    """In place of an error of what they are passed on to; without the tests' own check of types."""
    program = """
import floq
good = dict(config=floq.FQLConfig(), dataset=None, directory="run")
for wrong in [{"directory": None}, {"dataset": {}}, {"dataset": [{}]}, {"env": 3}]:
    try:
        floq.train(**(good | wrong), steps=1)
    except TypeError as error:
        print(error)
for call, wrong in [
    (floq.make_env, None), (floq.load_task, None), (floq.Dataset.load, 3), (floq.report, None),
    (lambda policy: floq.evaluate(policy, "Pendulum-v1", episodes=1, processes=0), None),
]:
    try:
        call(wrong)
    except (TypeError, ValueError) as error:
        print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert said.stdout.splitlines() == [
        "directory is of type NoneType: give a str or a pathlib.Path.",
        "dataset is of type dict: give a floq.Dataset, such as floq.Dataset.from_transitions(...) "
        "makes of arrays, or the path of its file.",
        "the path is of type dict: give a str or a pathlib.Path.",
        "env is of type int: give an environment, its name, or a function that returns it.",
        "the name of the environment is None: it must be of type str.",
        "the name of the task is None: it must be of type str.",
        "the path is of type int: give a str or a pathlib.Path.",
        "the path is of type NoneType: give a str or a pathlib.Path.",
        "policy is of type NoneType: give a function of observations and keys, such as the "
        "`policy` of a run.",
    ], said.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_update_that_takes_too_much_memory_is_named(tmp_path, monkeypatch):
    """The size is known once the update is compiled, and its error has no word of a setting."""

    def update(config, state, batch, *, key):
        many = jax.random.normal(key, (2**20, 2**20))
        return state, {"loss": jax.numpy.sort(many)[0, 0]}

    monkeypatch.setattr(tiny, "update", update)
    with pytest.raises(MemoryError, match=r"2 seeds with a batch_size of .*Out of memory"):
        run_tiny(tmp_path / "run", env=None)


@pytest.mark.parametrize("name", ["log_interval", "checkpoint_interval", "evaluation_episodes"])
def test_intervals_must_be_positive(name):
    """An interval of 0 is refused by name; so is keeping a single checkpoint."""
    with pytest.raises(ValueError, match=f"{name} is 0"):
        Schedule(**{name: 0})
    with pytest.raises(ValueError, match="keep is 1"):
        Schedule(keep=1)


def test_a_directory_holds_one_run_and_one_process(uncut, tmp_path):
    """Neither a second run nor a second process can write into a run's directory."""
    with pytest.raises(FileExistsError, match="floq resume"):
        run_tiny(uncut.directory)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        go_on(tmp_path)
    with (
        RunDirectory(uncut.directory),
        pytest.raises(RuntimeError, match="Another process"),
    ):
        go_on(uncut.directory)


def test_an_environment_is_related_to_the_data_before_anything_is_written(tmp_path):
    """Data of other bounds is refused, and what -1 and 1 stand for is in the run's config."""
    unrelated = dataclasses.replace(DATASET, action_low=None, action_high=None)
    with pytest.raises(ValueError, match="action_low=-2, action_high=2"):
        run_tiny(tmp_path / "run", dataset=unrelated)
    assert not (tmp_path / "run").exists()
    run = run_tiny(tmp_path / "run", steps=10)
    assert run.config.action_bounds == ((-2.0,), (2.0,))
    assert run.config.environment.kwargs == LIMIT | {"action_low": -2.0, "action_high": 2.0}
    env = make_env("Pendulum-v1", **LIMIT)
    scaled = run_tiny(tmp_path / "scaled", steps=10, dataset=unrelated, env=env)
    assert scaled.evaluations == run.evaluations
