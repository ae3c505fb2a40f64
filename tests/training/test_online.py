"""Training in the environment: what it computes, what it leaves, and that a cut leaves no trace."""

import dataclasses
import json
import signal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_algorithm as tiny

from floq.cli import main
from floq.envs.make import EnvironmentSpec
from floq.envs.vector import WorkerError
from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.runs.directory import read_rows
from floq.runs.states import action_key, states_template
from floq.training import Interrupted, Online, Schedule, finetune, load_run, resume, train
from floq.training import online_phase as online_module
from floq.training.collector import Collector
from floq.training.offline_phase import NothingToLearn

DATASET = tiny.make_dataset()
SCHEDULE = Schedule(
    log_interval=100, evaluation_interval=200, evaluation_episodes=1, checkpoint_interval=60
)
OFFLINE = 100
ONLINE = Online(steps=400, environments=2, updates_per_step=2.0, capacity=150)
ROWS = ("metrics.jsonl", "evaluations.jsonl", "episodes.jsonl")
FIELDS = ("observations", "actions", "rewards", "masks", "lasts", "environments")


def run_tiny(directory, *, online=ONLINE, steps=OFFLINE, config=tiny.Config(), **settings):
    settings = {
        "env": "Pendulum-v1",
        "seeds": (3, 5),
        "schedule": SCHEDULE,
        "reward_range": (-17.0, 0.0),
        "dataset": DATASET,
        **settings,
    }
    return train(
        config,
        settings.pop("dataset"),
        directory=directory,
        steps=steps,
        online=online,
        processes=0,
        progress=False,
        **settings,
    )


def go_on(directory, **settings):
    settings = {"dataset": DATASET, **settings}
    return resume(directory, processes=0, progress=False, **settings)


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return run_tiny(tmp_path_factory.mktemp("uncut") / "run")


def newest(run):
    config = run.config
    template = states_template(tiny, config.config, config.statistics, config.seeds)
    path = checkpoint_paths(run.directory / "checkpoints")[-1]
    return load_checkpoint(path, template, with_rows=True)


def log_of(run):
    """Everything that the run's shards hold, in order."""
    rows = newest(run).rows
    return {name: np.concatenate([shard[name] for shard in rows]) for name in FIELDS}


def assert_same_end(run, uncut):
    """Networks, counters, environments, buffers and rows of both runs are equal to the bit."""
    ours, theirs = newest(run), newest(uncut)
    assert ours.details == theirs.details
    assert ours.extra.keys() == theirs.extra.keys()
    for name, values in theirs.extra.items():
        assert ours.extra[name].tobytes() == values.tobytes(), name
    for one, other in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    # Old shards go at other times where they were cut in other places: the newest rows stay.
    ours, theirs = log_of(run), log_of(uncut)
    kept = 2 * len(run.config.seeds) * 75
    for name in FIELDS:
        assert ours[name][-kept:].tobytes() == theirs[name][-kept:].tobytes(), name
    for name in ROWS:
        assert (run.directory / name).read_text() == (uncut.directory / name).read_text()


def test_a_run_of_both_phases_leaves_what_it_should(uncut):
    """Rows of both phases on one axis of steps, every episode, and as many updates as are due."""
    steps = [(row["step"], row["seed"]) for row in uncut.metrics]
    assert steps == [(step, seed) for step in range(100, 501, 100) for seed in (3, 5)]
    evaluated = [row["step"] for row in uncut.evaluations]
    assert evaluated == [100, 100, 200, 200, 400, 400, 500, 500]
    # 2 updates a step, but for the first step of both environments, when nothing was there yet.
    assert uncut.state.step.tolist() == [OFFLINE + 2 * (400 - 2)] * 2
    episodes = read_rows(uncut.directory / "episodes.jsonl")
    found = [(row["step"], row["seed"], row["environment"], row["length"]) for row in episodes]
    assert found == [(500, seed, env, 200) for seed in (3, 5) for env in (0, 1)]
    assert not (uncut.directory / "events.jsonl").exists()
    assert load_run(uncut.directory).step == uncut.step == 500


def test_the_log_holds_what_the_environments_did(uncut):
    """Each logged reward is Pendulum's cost of the logged observation and action."""
    log = log_of(run := uncut)
    saved = newest(run).extra
    own = log["environments"] == 1
    observations, actions = log["observations"][own][:-1], log["actions"][own][:-1]
    # The ring is shorter than the episode: what is left is its end. Its seed is gone with it.
    assert len(observations) >= 74
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


@pytest.mark.parametrize("in_ticks", [False, True])
def test_cut_anywhere_it_ends_as_if_never_cut(uncut, tmp_path, monkeypatch, in_ticks):
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

    execute, cuts = Collector.execute, {1, 43, 44, 137}
    monkeypatch.setattr(Collector, "execute", execute_and_signal)
    with pytest.raises(Interrupted):
        run_tiny(tmp_path / "run")
    waiting = []
    for _ in cuts - {1}:
        waiting.append(len(newest(load_run(tmp_path / "run")).extra["actions"]))
        with pytest.raises(Interrupted):
            go_on(tmp_path / "run")
    run = go_on(tmp_path / "run")
    assert_same_end(run, uncut)
    # At the first step nothing is due, so that its middle is its end.
    assert waiting == ([0, 4, 4] if in_ticks else [0, 0, 0])


def test_a_damaged_checkpoint_and_a_damaged_shard_leave_no_trace(uncut, tmp_path):
    """The checkpoint before is used; a shard has a second copy, which mends the first."""
    run_tiny(tmp_path / "run", online=dataclasses.replace(ONLINE, steps=320))
    folder = tmp_path / "run" / "checkpoints"
    flip(folder / "step_000000420" / "extra.safetensors")
    shard = sorted(folder.glob("rows/rows_*[0-9].safetensors"))[0]
    before = shard.read_bytes()
    flip(shard)
    with pytest.warns(RuntimeWarning) as caught:
        run = go_on(tmp_path / "run", online_steps=400)
    texts = [str(warning.message) for warning in caught]
    assert any("step_000000420: extra.safetensors is not what" in text for text in texts)
    assert any(f"{shard} is not what was saved; its other copy is" in text for text in texts)
    assert not shard.exists() or shard.read_bytes() == before
    assert_same_end(run, uncut)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_shard_with_both_copies_damaged_is_an_error(tmp_path):
    """Never silent: both files are named, and no earlier checkpoint can do without them."""
    run_tiny(tmp_path / "run", online=dataclasses.replace(ONLINE, steps=120))
    for path in (tmp_path / "run" / "checkpoints" / "rows").iterdir():
        flip(path)
    with (
        pytest.warns(RuntimeWarning, match=r"rows_.*safetensors and .*copy.safetensors are both"),
        pytest.raises(RuntimeError, match="are damaged"),
    ):
        go_on(tmp_path / "run", online_steps=400)


def test_shards_go_when_no_checkpoint_needs_them(uncut):
    """What is on the disk is what the kept checkpoints name, twice; a save writes only new rows."""
    folder = uncut.directory / "checkpoints"
    names = set()
    for path in checkpoint_paths(folder):
        names.update(json.loads((path / "manifest.json").read_text())["shards"])
    files = {path.name for path in (folder / "rows").iterdir()}
    assert files == {
        f"{name}{end}" for name in names for end in (".safetensors", ".copy.safetensors")
    }
    ranges = sorted(tuple(map(int, name.split("_")[1:])) for name in names)
    assert [a[1] for a in ranges[:-1]] == [b[0] for b in ranges[1:]]
    # 4 environments keep 75 states each; older ones are gone, but for the rest of a shard.
    assert 300 <= ranges[-1][1] - ranges[0][0] < 808


def test_finetuning_a_run_is_training_it_on(uncut, tmp_path):
    """An offline run, continued, ends as the run that did both: networks, rows, buffers."""
    offline = run_tiny(tmp_path / "run", online=None)
    before = {path: path.read_bytes() for path in offline.directory.rglob("*") if path.is_file()}
    run = finetune(offline.directory, online=ONLINE, dataset=DATASET, processes=0, progress=False)
    assert run.directory == tmp_path / "run-online"
    assert_same_end(run, uncut)
    assert run.config == uncut.config
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(ValueError, match="has trained in its environment already"):
        finetune(run, online=ONLINE, dataset=DATASET)


def test_steps_are_those_of_their_own_phase(uncut, tmp_path):
    """Neither can lie behind; updates on data are over once the environment is stepped."""
    offline = run_tiny(tmp_path / "run", online=None)
    with pytest.raises(ValueError, match=r"does not train in its environment, so online_steps"):
        go_on(offline.directory, online_steps=400)
    with pytest.raises(ValueError, match=r"is at step 100, so steps cannot be 99"):
        go_on(offline.directory, steps=99)
    before = (uncut.directory / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"after 100 updates on its data, so steps cannot be 101"):
        go_on(uncut.directory, steps=101)
    with pytest.raises(ValueError, match=r"at step 400 in its environment, so online_steps cannot"):
        go_on(uncut.directory, online_steps=398)
    assert before == (uncut.directory / "config.json").read_bytes()
    run_tiny(
        tmp_path / "nothing",
        steps=0,
        online=dataclasses.replace(ONLINE, buffer="online"),
        dataset=None,
    )
    with pytest.raises(ValueError, match=r"has no data to go on with, so steps cannot be 10"):
        go_on(tmp_path / "nothing", steps=10)


def test_the_command_finetunes_a_run(tmp_path, capsys):
    """`floq finetune RUN` makes RUN-online, and says where it lies."""
    run_tiny(tmp_path / "run", online=None, steps=4, seeds=(0,))
    options = "--online-steps 8 --buffer online --updates-per-step 0.5 --processes 1"
    schedule = "--evaluation-episodes 1"
    assert main(["finetune", str(tmp_path / "run"), *options.split(), *schedule.split()]) == 0
    assert "run-online: 12 steps are done" in capsys.readouterr().out
    run = load_run(tmp_path / "run-online")
    assert run.config.fingerprint is None
    assert run.state.step.tolist() == [4 + 3]


def test_seeds_side_by_side_do_not_see_each_other(uncut, tmp_path):
    """A seed's networks and rows are those of a run of its own."""
    alone = run_tiny(tmp_path / "run", seeds=(5,))
    np.testing.assert_array_equal(alone.state.weights[0], uncut.state.weights[1])
    assert alone.metrics == [row for row in uncut.metrics if row["seed"] == 5]


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
    assert len(actions) == 201
    warm = actions[:100]
    assert np.abs(warm).max() <= 1
    assert np.var(warm) == pytest.approx(1 / 3, rel=0.35)
    assert len(np.unique(warm)) == 100
    assert [row["step"] for row in run.metrics] == [200]


def test_a_reward_outside_of_the_range_is_reported_once(tmp_path):
    """A warning and a row that say what to do; the reward itself is learned as it is."""
    online = dataclasses.replace(ONLINE, steps=200)
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": None}, "no env"),
        ({"dataset": None}, "dataset is None"),
        ({"dataset": None, "steps": 0}, 'buffer="online"'),
        (
            {
                "dataset": None,
                "steps": 0,
                "online": Online(steps=4, buffer="online"),
                "reward_range": None,
            },
            "--reward-range LOW HIGH",
        ),
        ({"reward_range": (0.0, -1.0)}, "the lower one first"),
        ({"reward_range": (0.0, float("inf"))}, r"reward_range\[1\] is inf.* finite"),
        ({"online": Online(steps=4, buffer="balanced", online_share=0.01)}, "leaves none"),
        ({"online": Online(steps=4, environments=2, capacity=7)}, "at least 8, since each"),
        ({"online": Online(steps=4, warmup=4)}, "no update would ever be made"),
        ({"online": Online(steps=40, updates_per_step=0.025)}, "no update would ever be made"),
        ({"online": Online(steps=4, environments=4)}, "no update would ever be made"),
        (
            {"online": Online(steps=10, environments=2), "config": tiny.Config(action_chunk=5)},
            "action_chunk=5: no update would ever be made",
        ),
    ],
)
def test_online_settings_that_do_not_go_together_are_refused(tmp_path, settings, message):
    """Each is an error at once, and leaves no directory behind."""
    with pytest.raises(ValueError, match=message):
        run_tiny(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*leaves out")
@pytest.mark.parametrize("phases", [(0, None, "online"), (20, DATASET, "merged")])
def test_episodes_shorter_than_a_decision_end_the_run(tmp_path, phases):
    """After a hundred of them, not after all of the steps; steps, episodes and state are saved."""
    offline, dataset, buffer = phases
    settings = {
        "config": tiny.Config(action_chunk=6),
        "env": EnvironmentSpec("Pendulum-v1", {"max_episode_steps": 5}),
        "steps": offline,
        "dataset": dataset,
        "schedule": dataclasses.replace(SCHEDULE, log_interval=1000, checkpoint_interval=1000),
    }
    online = Online(steps=2000, buffer=buffer)
    with pytest.raises(NothingToLearn, match="None of 100 episodes of seed 3 had the 6 steps"):
        run_tiny(tmp_path / "run", online=online, **settings)
    saved = checkpoint_paths(tmp_path / "run" / "checkpoints")[-1]
    assert saved.name == f"step_{offline + 500:09d}"
    episodes = read_rows(tmp_path / "run" / "episodes.jsonl")
    assert [row["length"] for row in episodes] == [5] * 200
    # It comes to the same end again, and another number of steps does not help.
    with pytest.raises(NothingToLearn, match="None of 100 episodes"):
        go_on(tmp_path / "run", dataset=dataset, online_steps=3000)


def test_a_phase_that_ends_without_an_update_says_so(tmp_path):
    """Few episodes, all too short, or the first decision complete in the last step."""
    settings = {"config": tiny.Config(n_step=6), "dataset": None, "steps": 0}
    settings |= {"env": EnvironmentSpec("Pendulum-v1", {"max_episode_steps": 5})}
    with pytest.raises(NothingToLearn, match="None of 6 episodes of seed 3 had the 6 steps"):
        run_tiny(tmp_path / "one", online=Online(steps=30, buffer="online"), **settings)
    assert len(read_rows(tmp_path / "one" / "episodes.jsonl")) == 12
    settings["env"] = "Pendulum-v1"
    with pytest.raises(NothingToLearn, match="No update was made in 6 environment steps"):
        run_tiny(tmp_path / "two", online=Online(steps=6, buffer="online"), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "online steps is 0"),
        ({"environments": 3}, "400 online steps cannot be shared by 3"),
        ({"updates_per_step": 0.0}, "updates_per_step is 0.0"),
        ({"updates_per_step": float("nan")}, "updates_per_step is nan"),
        ({"warmup": -1}, "warmup is -1"),
        ({"online_share": 1.0}, "online_share is 1.0"),
        ({"capacity": 0}, "online capacity is 0"),
    ],
)
def test_online_settings_have_ranges(settings, message):
    """A value out of its range is refused by name."""
    with pytest.raises(ValueError, match=message):
        Online(**{"steps": 400, **settings})


def test_updates_are_due_in_their_ratio():
    """From a quarter of an update a step to 128, after the warm-up."""
    assert [Online(steps=9, updates_per_step=0.25).updates_before(n) for n in (3, 4, 8)] == [
        0,
        1,
        2,
    ]
    assert Online(steps=9, updates_per_step=128.0, warmup=5).updates_before(7) == 256
