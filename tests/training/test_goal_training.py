"""Runs that learn to reach goals."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floq
from floq.algorithms import iql
from floq.cli import main
from floq.envs.make import EnvironmentSpec
from floq.presets.changes import small
from floq.runs.directory import read_config
from floq.training.preparation import as_goals
from tests.data import mazes

POINTS = "tests.envs.goal_environments:Points"
LINE = EnvironmentSpec(POINTS, {"max_episode_steps": 6})
GOALS = floq.Goals(goal_entries=(0,), policy_goals=(0.1, 0.6, 0.3))
SCHEDULE = floq.Schedule(
    log_interval=2, evaluation_interval=2, evaluation_episodes=3, checkpoint_interval=2
)
OPTIONS = {"processes": 0, "progress": False}


def tiny():
    return small(floq.IQLConfig(batch_size=4), width=8, depth=1)


def line(rows=40):
    """Data of the shapes of `Points`."""
    random = np.random.default_rng(0)
    ends = np.arange(rows) % 10 == 9
    return floq.Dataset.from_trajectories(
        random.normal(size=(rows, 2)),
        random.uniform(-1, 1, (rows, 1)),
        np.zeros(rows),
        np.ones(rows),
        ends,
        layout="states",
    )


def train(path, *, steps=4, config=None, **options):
    options = {"goals": GOALS, "env": LINE, "schedule": SCHEDULE, **OPTIONS, **options}
    return floq.train(config or tiny(), line(), steps=steps, directory=path, **options)


def test_a_run_of_goals_resumes_to_the_same_bits(tmp_path):
    """What is chosen stands in its config, and a cut run draws the goals that an uncut one does."""
    uncut = train(tmp_path / "uncut")
    config = read_config(uncut.directory)
    assert config.goals == GOALS
    assert config.environment.kwargs["goals"] == [0]
    assert config.statistics == floq.Statistics(3, 1, -1.0, 0.0)
    train(tmp_path / "cut", steps=2)
    floq.resume(tmp_path / "cut", dataset=line(), steps=4, **OPTIONS)
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        assert (tmp_path / "cut" / name).read_text() == (uncut.directory / name).read_text()
    rows = uncut.evaluations
    for row in rows:
        own = [row[f"success_goal{goal}"] for goal in (1, 2, 3)]
        assert row["success"] == pytest.approx(np.mean(own))
    folder = uncut.export(tmp_path / "policy", format="numpy")
    card = (folder / "README.md").read_text()
    assert "Observations: 3 numbers, of which the goal has the last 1, those of the env" in card


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(
            floq.FloqConfig(
                batch_size=4, action_chunk=2, n_step=2, candidates=2, target_candidates=2
            ),
            id="floq",
            marks=pytest.mark.slow,
        ),
        pytest.param(floq.ReBRACConfig(batch_size=4, action_chunk=2), id="rebrac"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_other_methods_learn_to_reach_goals(tmp_path, config):
    """Algorithms are those of rewards, chunks and best of N too: observations are longer."""
    run = train(tmp_path / "run", config=small(config, width=8, depth=1), steps=2)
    assert run.step == 2
    action = run.actor().act(np.array([0.0, 0.0, 3.0]))
    assert action.shape == (1,)


def test_the_policy_learns_at_goals_of_its_own():
    """The policy's loss, and nothing of the critic's, changes with the policy's goals alone."""
    config = tiny()
    dataset = as_goals(mazes.walks(trajectories=3), config, floq.Goals())
    state = iql.init(config, dataset.statistics, key=jax.random.key(0))
    rows = jnp.arange(4)
    draws = iql.sample_draws(state.parameters, 4, key=jax.random.key(1))
    loss = jax.jit(lambda batch: iql.loss(config, *state[:2], batch, draws)[1])
    found = [loss(dataset.relabelled(rows, rows + 3, rows + later)) for later in (1, 9)]
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    assert changed
    assert all(name.startswith("policy/") for name in changed)


def test_goals_and_steps_in_the_environment_are_refused(tmp_path):
    """At once, and when a run is fine-tuned: goals are drawn from data."""
    with pytest.raises(ValueError, match="goals are drawn from data"):
        train(tmp_path / "online", online=floq.Online(steps=20))
    run = train(tmp_path / "run", steps=2)
    with pytest.raises(ValueError, match="learned to reach goals"):
        floq.finetune(run, steps=10, directory=tmp_path / "fine", **OPTIONS)


def test_goals_must_count_alike_before_anything_is_written(tmp_path):
    """A number of evaluation episodes that goals cannot share is refused without a folder."""
    schedule = floq.Schedule(evaluation_episodes=4)
    with pytest.raises(ValueError, match="4 evaluation episodes for 3 goals"):
        train(tmp_path / "run", schedule=schedule)
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_the_same(tmp_path, capsys):
    """`--goals` and its settings are those of Python; a task is named by its dataset."""
    line().save(tmp_path / "line.npz")
    common = ["--data", str(tmp_path / "line.npz"), "--env", POINTS, "--algorithm", "bc"]
    common += ["--max-episode-steps", "6"]
    common += ["--steps", "2", "--processes", "0", "--evaluation-episodes", "3"]
    common += ["--config.policy.network.hidden-sizes", "8", "--config.batch-size", "4"]
    given = ["--goals", "--goal-entries", "0", "--policy-goals", "0.1", "0.6", "0.3"]
    assert main(["train", *common, *given, "--directory", str(tmp_path / "run")]) == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["goals"]["policy_goals"] == [0.1, 0.6, 0.3]
    assert read_config(tmp_path / "run").goals == GOALS
    assert main(["train", *common, *given[1:], "--directory", str(tmp_path / "other")]) == 2
    assert "give --goals" in capsys.readouterr().err
    assert main(["train", "cube-double-play-singletask-v0", "--goals"]) == 2
    assert "name the dataset" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*All rewards are 0")
def test_former_runs_have_no_goals(tmp_path):
    """Their settings, which do not speak of goals, are read as ever."""
    run = train(tmp_path / "run", steps=2, goals=None, env=None)
    config = json.loads((run.directory / "config.json").read_text())
    assert config.pop("goals") is None
    (run.directory / "config.json").write_text(json.dumps(config))
    assert floq.load_run(run.directory).config.goals is None
