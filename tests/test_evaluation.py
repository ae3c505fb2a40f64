"""Evaluation: repeatable to the bit, counted right, and clear about what goes wrong."""

import json
import math
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.acting import BATCH, step_keys
from floq.algorithms import floq
from floq.envs import EnvironmentSpec, make_env
from floq.envs.vector import WorkerError
from floq.evaluation import Evaluation, Evaluator, evaluate
from floq.intervals import wilson_interval
from floq.recording import record
from floq.runs.run import make_policy

sys.path.append(str(Path(__file__).parent / "envs"))

MAZE = "pointmaze-medium-navigate-singletask-task1-v0"
TOY = "toy_environments:Toy-v0"


def _toy(**kwargs):
    return EnvironmentSpec(TOY, kwargs)


def _network(observation_dim, action_dim):
    """A policy with matrix products, whose rounding depends on the shape of the batch."""
    keys = jax.random.split(jax.random.key(5), 3)
    sizes = (observation_dim, 128, 128, action_dim)
    weights = [
        jax.random.normal(key, (a, b)) / np.sqrt(a)
        for key, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]

    @jax.jit
    def policy(observations, keys):
        hidden = observations
        for weight in weights[:-1]:
            hidden = jnp.tanh(hidden @ weight)
        noise = jax.vmap(lambda key: jax.random.normal(key, (action_dim,)))(keys)
        return hidden @ weights[-1] + noise

    return policy


def _still(observations, keys):
    return np.zeros((len(observations), 2), np.float32)


def _same(left, right):
    np.testing.assert_array_equal(left.returns, right.returns)
    np.testing.assert_array_equal(left.lengths, right.lengths)
    np.testing.assert_array_equal(left.successes, right.successes)


@pytest.mark.parametrize(
    ("successes", "episodes", "expected"),
    [
        # Centre (p + z²/2n)/(1 + z²/n), half z/(1 + z²/n)·√(p(1−p)/n + z²/4n²), z = 1.95996.
        (5, 10, (0.2366, 0.7634)),
        (42, 50, (0.7149, 0.9166)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
    ],
)
def test_wilson_interval(successes, episodes, expected):
    """The interval agrees with numbers worked by hand, at the ends too."""
    low, high = wilson_interval(successes / episodes, episodes)
    assert (low, high) == pytest.approx(expected, abs=1e-4)


def test_text_and_summary_with_successes():
    """The line reads as documented, and the summary survives JSON."""
    successes = np.array([1.0] * 42 + [0.0] * 8)
    result = Evaluation(np.full(50, -83.14), np.full(50, 121), successes)
    assert str(result) == ("success 0.84 [0.71, 0.92] over 50 episodes, return -83.1, length 121")
    summary = json.loads(json.dumps(result.summary()))
    assert summary["success"] == 0.84
    assert summary["episodes"] == 50
    assert summary["success_low"] == pytest.approx(0.7149, abs=1e-4)


def test_text_and_interval_without_successes():
    """Without successes the interval is Student's, of the return; one episode has none."""
    result = Evaluation(np.array([1.0, 2.0, 3.0]), np.full(3, 4), None)
    # Standard error 1/√3, 97.5 % point of t with 2 degrees of freedom 4.3027.
    assert result.interval == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert str(result) == "return 2.0 [-0.5, 4.5] over 3 episodes, length 4"
    assert "success" not in result.summary()
    single = Evaluation(np.array([1.0]), np.array([4]), None)
    assert single.interval == (-math.inf, math.inf)
    assert str(single) == "return 1.0 over 1 episode, length 4"
    assert json.loads(json.dumps(single.summary(), allow_nan=False))["return"] == 1.0


@pytest.mark.parametrize(("slots", "processes"), [(1, 0), (3, 0), (5, 1), (4, 2), (BATCH, 2)])
def test_results_do_not_depend_on_slots_or_processes(slots, processes):
    """Random episode lengths, noisy policy: every way to spread the work gives the same bytes."""
    policy = _network(4, 2)
    expected = evaluate(policy, _toy(success_at=4), episodes=11, seed=3, processes=0)
    assert len(set(expected.lengths)) > 2
    assert 0 < expected.success_rate < 1
    with Evaluator(_toy(success_at=4), slots=slots, processes=processes) as evaluator:
        _same(evaluator.evaluate(policy, episodes=11, seed=3), expected)


def test_maze_evaluation_repeats_bit_for_bit():
    """A maze that draws from numpy's global generator repeats, with workers that have lived."""
    spec = EnvironmentSpec("pointmaze-medium-singletask-v0", {"max_episode_steps": 40})
    policy = _network(2, 2)
    with Evaluator(spec, slots=3, processes=2) as evaluator:
        first = evaluator.evaluate(policy, episodes=5, seed=1)
        np.random.seed(9)  # noqa: NPY002
        evaluator.evaluate(policy, episodes=4, seed=2)
        _same(evaluator.evaluate(policy, episodes=5, seed=1), first)
    played = record(policy, spec, seed=1, episode=4, render=False)
    start = record(policy, spec, seed=2, episode=4, render=False).observations[0]
    assert len(played.rewards) == first.lengths[4]
    assert not np.array_equal(played.observations[0], start)


def test_the_seed_matters():
    """Another seed gives other episodes."""
    policy = _network(4, 2)
    results = [evaluate(policy, _toy(length=3), episodes=2, seed=s, processes=0) for s in (0, 1)]
    assert not np.isin(results[0].returns, results[1].returns).any()


def test_returns_lengths_and_successes_are_counted_right():
    """With 5 steps of reward 2·0.25 plus shown draws, success at step 2 of 5 counts."""
    seen = []

    def policy(observations, keys):
        seen.append(observations[0].copy())
        return np.full((len(observations), 2), 0.25)

    with Evaluator(_toy(length=5, success_at=2), slots=1, processes=0) as evaluator:
        result = evaluator.evaluate(policy, episodes=3)
    np.testing.assert_array_equal(result.lengths, 5)
    np.testing.assert_array_equal(result.successes, 1.0)
    assert [row[0] for row in seen] == [0, 1, 2, 3, 4] * 3
    recording = record(policy, _toy(length=5, success_at=2), seed=0, episode=1, render=False)
    assert result.returns[1] == pytest.approx(5 * 0.5 + recording.observations[1:, 1:].sum(), 1e-6)
    never = evaluate(_still, _toy(length=5, success_at=9), episodes=2, processes=0)
    np.testing.assert_array_equal(never.successes, 0.0)
    assert evaluate(_still, _toy(length=5), episodes=2, processes=0).successes is None


@pytest.mark.parametrize(
    ("spec", "limit"), [(_toy(length=9, max_episode_steps=4), 4), (_toy(length=2_000), 1_000)]
)
def test_a_truncated_episode_ends(spec, limit, monkeypatch):
    """By a time limit that was given or registered; if it is as long as floq's, nothing is said."""
    monkeypatch.setattr("floq.evaluation.MAX_EPISODE_STEPS", limit)
    np.testing.assert_array_equal(evaluate(_still, spec, episodes=2, processes=0).lengths, limit)


def test_keys_belong_to_episode_and_step():
    """A row's key is fold_in(fold_in(key(seed), episode), step), whatever else is in the batch."""
    episodes, times = np.array([3, 0, 7], np.int32), np.array([0, 5, 2], np.int32)
    keys = step_keys(11, episodes, times)
    for key, episode, time in zip(keys, episodes, times, strict=True):
        expected = jax.random.fold_in(jax.random.fold_in(jax.random.key(11), episode), time)
        assert key == expected


def test_the_policy_always_sees_one_shape():
    """However many slots are left, a jitted policy is compiled once."""
    shapes = []

    @jax.jit
    def policy(observations, keys):
        shapes.append((observations.shape, keys.shape))
        return jnp.zeros((len(observations), 2))

    for slots in (2, 5):
        with Evaluator(_toy(), slots=slots, processes=0) as evaluator:
            evaluator.evaluate(policy, episodes=7)
    assert shapes == [((BATCH, 4), (BATCH,))]


@pytest.mark.parametrize(("candidates", "rows"), [(0, 32), (16, 8), (200, 1)])
def test_a_policy_that_weighs_many_actions_is_asked_for_few_rows(candidates, rows):
    """Always in one shape, and its episodes are the same in any number of slots."""
    asked = []

    def act(config, state, observations, *, keys):
        asked.append(observations.shape)
        return _network(4, 4)(observations + state, keys)

    policy = make_policy(act, floq.Config(candidates=candidates), 0.0)
    results = []
    for slots in (1, 5):
        with Evaluator(_toy(success_at=4), slots=slots, processes=0) as evaluator:
            results.append(evaluator.evaluate(policy, episodes=11, seed=3))
    _same(*results)
    assert asked == [(rows, 4)]
    played = record(policy, _toy(success_at=4), seed=3, episode=7, render=False)
    assert played.rewards.sum() == pytest.approx(results[0].returns[7], abs=1e-12)
    assert asked == [(rows, 4)]


@pytest.mark.parametrize("episode", [0, 3])
def test_a_recording_is_the_evaluations_episode(episode):
    """Its rewards sum to that episode's return, to the bit, and its parts fit together."""
    policy = _network(4, 2)
    result = evaluate(policy, _toy(success_at=4), episodes=6, seed=2, processes=2)
    played = record(policy, _toy(success_at=4), seed=2, episode=episode, render=False)
    assert len(played.rewards) == len(played.actions) == result.lengths[episode]
    assert len(played.observations) == len(played.actions) + 1
    assert np.cumsum(played.rewards)[-1] == result.returns[episode]
    assert played.success == bool(result.successes[episode])
    assert np.abs(played.actions).max() <= 1
    assert played.frames is None
    assert played.no_frames == ""


def test_should_stop_ends_the_evaluation():
    """It is asked before every step; None comes back, and the evaluator remains of use."""
    asked = []

    def should_stop():
        asked.append(None)
        return len(asked) == 3

    with Evaluator(_toy(length=6), processes=1) as evaluator:
        assert evaluator.evaluate(_still, episodes=2, should_stop=should_stop) is None
        assert len(asked) == 3
        after = evaluator.evaluate(_still, episodes=2)
    _same(after, evaluate(_still, _toy(length=6), episodes=2, processes=0))


def test_progress_is_told():
    """on_episode hears of every finished episode, and at last of all."""
    counts = []
    with Evaluator(_toy(), slots=2, processes=0) as evaluator:
        evaluator.evaluate(_still, episodes=6, on_episode=counts.append)
    assert counts == sorted(set(counts))
    assert counts[-1] == 6


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda observations, keys: np.zeros((3, 2)), r"\(3, 2\).*must return \(32, 2\)"),
        (lambda observations, keys: np.zeros((len(observations), 1)), r"must return \(32, 2\)"),
        (lambda observations, keys: np.full((len(observations), 2), np.nan), "not finite"),
    ],
)
def test_bad_policies_are_named(policy, message):
    """Actions of the wrong shape and NaN are ValueErrors that say so."""
    with pytest.raises(ValueError, match=message):
        evaluate(policy, _toy(), episodes=2, processes=0)


def test_actions_are_clipped():
    """A policy that asks for 5 acts with 1."""
    big = evaluate(lambda o, k: np.full((len(o), 2), 5.0), _toy(length=3), episodes=2, processes=0)
    one = evaluate(lambda o, k: np.full((len(o), 2), 1.0), _toy(length=3), episodes=2, processes=0)
    _same(big, one)


def test_an_evaluator_recovers_from_a_lost_worker():
    """A killed worker is an error for this evaluation; the next one starts new workers."""
    with Evaluator(_toy(length=6), processes=1) as evaluator:
        first = evaluator.evaluate(_still, episodes=2)
        os.kill(evaluator._environments._workers[0]._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="SIGKILL"):
            evaluator.evaluate(_still, episodes=2)
        _same(evaluator.evaluate(_still, episodes=2), first)


def test_more_episodes_get_more_slots():
    """A small first evaluation does not leave the later ones with its few slots."""
    with Evaluator(_toy(length=2), processes=0) as evaluator:
        counts = []
        for episodes in (2, 9, 3):
            evaluator.evaluate(_still, episodes=episodes)
            counts.append(evaluator._environments.count)
    assert counts == [2, 9, 9]


def test_bad_requests_are_refused():
    """Impossible numbers and unknown environments are ValueErrors."""
    with pytest.raises(ValueError, match="between 1 and 32"):
        Evaluator(_toy(), slots=BATCH + 1)
    with pytest.raises(ValueError, match="-1 processes"):
        Evaluator(_toy(), processes=-1)
    with pytest.raises(ValueError, match="unknown environment"):
        Evaluator("pointmaze-huge-navigate-singletask-v0")
    with pytest.raises(ValueError, match="0 episodes"):
        evaluate(_still, _toy(), episodes=0)
    with pytest.raises(ValueError, match="seed -1"):
        evaluate(_still, _toy(), seed=-1, processes=0)


def test_an_environment_object_is_evaluated_as_it_was_made():
    """A made environment, its spec and its name mean the same environment."""
    env = make_env(TOY, length=4)
    _same(
        evaluate(_still, env, episodes=2, processes=0),
        evaluate(_still, _toy(length=4), episodes=2, processes=0),
    )
    assert Evaluator(MAZE).spec.id == "pointmaze-medium-singletask-task1-v0"


def test_an_action_chunk_is_carried_out_in_order_before_the_policy_is_asked_again():
    """A policy of three actions at once is asked at steps 0, 3, 6 …, and each is done in turn."""
    asked = []

    def policy(observations, keys):
        asked.append(np.array(observations[0]))
        return np.tile(np.repeat(np.float32([0.1, 0.2, 0.3]), 2), (len(observations), 1))

    played = record(policy, _toy(length=7), seed=0, render=False)
    np.testing.assert_allclose(played.actions[:, 0], [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1])
    np.testing.assert_array_equal(asked, played.observations[[0, 3, 6]])
    with Evaluator(_toy(length=7), processes=0, slots=2) as evaluator:
        result = evaluator.evaluate(policy, episodes=5, seed=0)
    assert result is not None
    assert result.returns[0] == pytest.approx(played.rewards.sum())


def test_episodes_of_different_lengths_share_the_calls_of_a_policy_with_chunks():
    """All plans begin at the same steps, and what happens is what happens one by one."""

    def policy(observations, keys):
        return np.tile(np.asarray(observations[:, 1:3]), 3)

    phases = []
    with Evaluator(_toy(), processes=0, slots=4) as evaluator:
        together = evaluator.evaluate(
            policy, episodes=20, on_step=lambda moment: phases.append(moment.observations[:, 0] % 3)
        )
    assert all((phase == phase[0]).all() for phase in phases)
    assert len({len(phase) for phase in phases}) > 1
    with Evaluator(_toy(), processes=0, slots=1) as evaluator:
        _same(together, evaluator.evaluate(policy, episodes=20))


def test_an_evaluation_shows_how_far_it_is(monkeypatch, capsys):
    """Elsewhere than on a terminal a line now and then says episodes and steps."""
    monkeypatch.setattr("floq.progress._PLAIN_SECONDS", 0.0)
    monkeypatch.setattr("floq.progress._BUSY_SECONDS", 0.0)
    evaluate(_still, _toy(length=3), episodes=2, processes=0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"evaluation: 0 of 2 episodes are finished, the others at step {step}" for step in range(3)
    ]


def test_an_environment_without_end_does_not_hang_an_evaluation(monkeypatch):
    """Its episodes are ended, and that is said; Ctrl-C ends it before, and its workers."""
    monkeypatch.setattr("floq.envs.make.MAX_EPISODE_STEPS", 20)
    monkeypatch.setattr("floq.evaluation.MAX_EPISODE_STEPS", 20)
    endless = "toy_environments:Endless-v0"
    with pytest.warns(UserWarning, match=r"2 of 2 episodes.*after 20 steps.*max_episode_steps="):
        result = evaluate(_still, endless, episodes=2, processes=0)
    np.testing.assert_array_equal(result.lengths, 20)
    monkeypatch.setattr("floq.envs.make.MAX_EPISODE_STEPS", 10**9)
    calls, workers = [], []

    def interrupting(observations, keys):
        calls.append(None)
        if len(calls) == 30:
            signal.raise_signal(signal.SIGINT)
        return _still(observations, keys)

    with Evaluator(endless, processes=1) as evaluator:
        with pytest.raises(KeyboardInterrupt):
            evaluator.evaluate(interrupting, episodes=2)
        workers = [worker._process for worker in evaluator._environments._workers]
    assert [worker.poll() for worker in workers] == [0]


@pytest.mark.parametrize("name", ["success", "is_success"])
def test_success_goes_by_either_name(name, monkeypatch):
    """Gymnasium's robots call it is_success."""
    import toy_environments

    step = toy_environments.Toy.step

    def renamed(self, action):
        *rest, info = step(self, action)
        return (*rest, {name: info["success"]})

    monkeypatch.setattr(toy_environments.Toy, "step", renamed)
    result = evaluate(_still, _toy(length=5, success_at=2), episodes=2, processes=0)
    assert result.success_rate == 1.0
