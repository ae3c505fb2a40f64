"""Training in the environment: what it computes and what it leaves."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_algorithm as tiny
from online_runs import (
    DATASET,
    OFFLINE,
    ONLINE,
    log_of,
    newest,
    run_tiny,
)

from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.runs.directory import read_rows
from floq.runs.states import action_key, states_template
from floq.training import Online, load_run


def test_a_run_of_both_phases_leaves_what_it_should(uncut_online):
    """Rows of both phases on one axis of steps, every episode, and as many updates as are due."""
    steps = [(row["step"], row["seed"]) for row in uncut_online.metrics]
    assert steps == [(step, seed) for step in (100, 200, 300) for seed in (3, 5)]
    evaluated = [row["step"] for row in uncut_online.evaluations]
    assert evaluated == [100, 100, 200, 200, 300, 300]
    # 2 updates a step, but for the first step of both environments, when nothing was there yet.
    assert uncut_online.state.step.tolist() == [OFFLINE + 2 * (200 - 2)] * 2
    episodes = read_rows(uncut_online.directory / "episodes.jsonl")
    found = [(row["step"], row["seed"], row["environment"], row["length"]) for row in episodes]
    assert found == [(300, seed, env, 100) for seed in (3, 5) for env in (0, 1)]
    assert not (uncut_online.directory / "events.jsonl").exists()
    assert load_run(uncut_online.directory).step == uncut_online.step == 300


def test_the_log_holds_what_the_environments_did(uncut_online):
    """Each logged reward is Pendulum's cost of the logged observation and action."""
    log = log_of(run := uncut_online)
    saved = newest(run).extra
    own = log["environments"] == 1
    observations, actions = log["observations"][own][:-1], log["actions"][own][:-1]
    # The ring is shorter than the episode: what is left is its end. Its seed is gone with it.
    assert len(observations) >= 39
    angles = np.arctan2(observations[:, 1], observations[:, 0])
    torque = 2 * actions[:, 0]
    cost = angles**2 + 0.1 * observations[:, 2] ** 2 + 0.001 * torque**2
    np.testing.assert_allclose(log["rewards"][own][:-1], -cost, rtol=1e-3, atol=1e-4)
    assert log["lasts"][own].tolist() == [False] * len(observations) + [True]
    assert log["masks"].min() == 1  # Pendulum never terminates.
    assert saved["episode_lengths"].tolist() == [0, 0, 0, 0]


def test_the_first_action_is_the_policys_with_the_documented_key(tmp_path):
    """fold_in(fold_in(key of actions, environment), step): anybody can draw the same again."""
    online = dataclasses.replace(ONLINE, steps=4)
    run = run_tiny(tmp_path / "run", online=online, seeds=(3,), env="Pendulum-v1")
    log = log_of(run)
    start = load_checkpoint(
        run.directory / "checkpoints" / "step_000000100",
        states_template(tiny, run.config.config, run.config.statistics, (3,)),
    ).state
    for env in (0, 1):
        key = jax.random.fold_in(jax.random.fold_in(action_key(jnp.uint32(3)), env), 0)
        observation = log["observations"][env][None]
        state = jax.tree.map(lambda leaf: leaf[0], start)
        expected = tiny.act(tiny.Config(), state, observation, keys=key[None])
        np.testing.assert_allclose(log["actions"][env], expected[0], rtol=1e-5)


def test_shards_go_when_no_checkpoint_needs_them(uncut_online):
    """What is on the disk is what the kept checkpoints name, twice; a save writes only new rows."""
    folder = uncut_online.directory / "checkpoints"
    names = set()
    for path in checkpoint_paths(folder):
        names.update(json.loads((path / "manifest.json").read_text())["shards"])
    files = {path.name for path in (folder / "rows").iterdir()}
    assert files == {
        f"{name}{end}" for name in names for end in (".safetensors", ".copy.safetensors")
    }
    ranges = sorted(tuple(map(int, name.split("_")[1:])) for name in names)
    assert [a[1] for a in ranges[:-1]] == [b[0] for b in ranges[1:]]
    # 4 environments keep 40 states each; older ones are gone, but for the rest of a shard.
    assert 160 <= ranges[-1][1] - ranges[0][0] < 404


def test_seeds_side_by_side_do_not_see_each_other(uncut_online, tmp_path):
    """A seed's networks and rows are those of a run of its own."""
    alone = run_tiny(tmp_path / "run", seeds=(5,))
    np.testing.assert_array_equal(alone.state.weights[0], uncut_online.state.weights[1])
    assert alone.metrics == [row for row in uncut_online.metrics if row["seed"] == 5]


@pytest.mark.parametrize("buffer", ["balanced", "online"])
def test_from_nothing_it_warms_up_at_random(tmp_path, buffer):
    """No update before the warm-up is over, and uniform actions meanwhile; then 1 update in 4."""
    online = Online(steps=200, updates_per_step=0.25, warmup=100, buffer=buffer)
    run = run_tiny(
        tmp_path / "run",
        online=online,
        steps=0,
        seeds=(0,),
        dataset=None if buffer == "online" else DATASET,
        config=tiny.Config(action_chunk=2, batch_size=8),
    )
    assert run.state.step.tolist() == [(199 - 100) // 4]
    actions = log_of(run)["actions"][:, 0]
    # 200 and the end of each of two episodes.
    assert len(actions) == 202
    warm = actions[:100]
    assert np.abs(warm).max() <= 1
    assert np.var(warm) == pytest.approx(1 / 3, rel=0.35)
    assert len(np.unique(warm)) == 100
    assert [row["step"] for row in run.metrics] == [200]


def test_a_reward_outside_of_the_range_is_reported_once(tmp_path):
    """A warning and a row that say what to do; the reward itself is learned as it is."""
    online = dataclasses.replace(ONLINE, capacity=200)
    with pytest.warns(RuntimeWarning, match=r"outside of the reward range \[-1, 0\]") as caught:
        run = run_tiny(tmp_path / "run", online=online, steps=0, reward_range=(-1.0, 0.0))
    assert len(caught) == 1
    (row,) = read_rows(run.directory / "events.jsonl")
    assert (row["step"], row["event"]) == (100, "reward_outside_range")
    assert "--reward-range" in row["message"]
    assert row["reward"] < -1
    log = log_of(run)
    first = (log["environments"] < 2) & (np.cumsum(log["environments"] == 3) < 50)
    assert log["rewards"][first].min() == pytest.approx(row["reward"], rel=1e-6)
    assert run.config.statistics[2:4] == (-1.0, 0.0)
