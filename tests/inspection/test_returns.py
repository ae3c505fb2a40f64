import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from floq.data.dataset import Dataset
from floq.envs.make import EnvironmentSpec
from floq.inspection.returns import (
    Decisions,
    calibration,
    data_decisions,
    horizon_returns,
    over_episodes,
    played_decisions,
    ranks,
    return_horizon,
)
from floq.recording import record

sys.path.append(str(Path(__file__).parent.parent / "envs"))

NAN = math.nan


def still(observations, keys):
    """Two actions of two entries, different ones."""
    return np.tile(np.array([0.25, 0.5, -0.5, 0.0], np.float32), (len(observations), 1))


def decisions(returns, episodes):
    returns = np.asarray(returns, float)
    return Decisions(
        np.zeros((len(returns), 1)), np.zeros((len(returns), 1)), returns, np.asarray(episodes), 5
    )


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        # Cut by a time limit: the last return would count a reward that was never seen.
        ([1, 1, 1, 1], [1 + 1.0, 2 + 1.5, 3 + 2.0, NAN]),
        # A true end: nothing follows.
        ([1, 1, 1, 0], [1 + 1.0, 2 + 1.5, 3 + 2.0, 4.0]),
        # One in the middle: nothing of what comes after counts.
        ([1, 0, 1, 1], [1 + 1.0, 2.0, 3 + 2.0, NAN]),
    ],
)
def test_returns_count_the_same_steps_everywhere(masks, expected):
    """Rewards 1, 2, 3, 4 at γ = ½ over two steps, worked by hand."""
    found = horizon_returns(np.arange(1.0, 5.0), np.array(masks, float), 0.5, 2)
    np.testing.assert_allclose(found, expected)


def test_horizon_is_where_the_discount_is_one_percent():
    """0.99⁴⁵⁹ ≤ 0.01 < 0.99⁴⁵⁸; without a future one step is all."""
    assert return_horizon(0.99) == 459
    assert return_horizon(0.0) == 1


def test_played_decisions_are_those_of_the_evaluation():
    """States, chunks and returns are those of the recorded episodes with the same seed."""
    environment = EnvironmentSpec("toy_environments:Toy-v0", {"length": 5})
    found = played_decisions(
        still, environment, episodes=2, seed=3, discount=0.5, action_chunk=2, processes=0
    )
    # Five steps are two decisions of two, and a cut one.
    assert found.episodes.tolist() == [0, 0, 1, 1]
    second = record(still, environment, seed=3, episode=1, render=False)
    np.testing.assert_array_equal(found.observations[2:], second.observations[[0, 2]])
    np.testing.assert_array_equal(found.actions[3], [0.25, 0.5, -0.5, 0.0])
    expected = horizon_returns(second.rewards, np.array([1, 1, 1, 1, 0.0]), 0.5, 7)
    np.testing.assert_allclose(found.returns[2:], expected[[0, 2]])


def played_still(environment):
    """The decisions of an episode in which nothing is done; returns count seven steps."""
    return played_decisions(
        lambda observations, keys: np.zeros((len(observations), 2), np.float32),
        environment,
        episodes=1,
        seed=0,
        discount=0.5,
        processes=0,
    )


def test_a_time_limit_is_played_past(capsys):
    """A policy that never arrives gets −1 a step for ever, from each of its 20 steps on."""
    environment = EnvironmentSpec("pointmaze-medium-singletask-task5-v0", {"max_episode_steps": 20})
    found = played_still(environment)
    assert found.horizon == 7
    np.testing.assert_allclose(found.returns, np.full(20, -(1 - 0.5**7) / 0.5))
    # Whoever sees the steps go by is told.
    assert "for 6 steps past their limit of 20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kwargs"), [("Endless", {"max_episode_steps": 5}), ("limited", {})]
)
def test_a_time_limit_of_a_function_is_played_past_if_it_was_given(name, kwargs):
    """One inside of the function cannot be, and the error says what to do."""
    environment = EnvironmentSpec(f"toy_environments:{name}", kwargs)
    if kwargs:
        assert len(played_still(environment).returns) == 5
    else:
        with pytest.raises(ValueError, match=r"no return is known: .* --max-episode-steps, or by"):
            played_still(environment)


def test_returns_of_the_data_end_with_their_trajectories():
    """Two trajectories of rewards 1, 2 and 4, 8 with a true end in the second."""
    dataset = Dataset.from_trajectories(
        np.arange(6.0)[:, None],
        np.linspace(-0.5, 0.5, 6)[:, None],
        np.array([1.0, 2.0, 0.0, 4.0, 8.0, 0.0]),
        np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0]),
        np.array([0.0, 0.0, 1.0, 0.0, 0.0, 1.0]),
    )
    # γ = .005 counts one step.
    found = data_decisions(dataset, dataset, discount=0.005)
    np.testing.assert_allclose(found.returns, [1.0, 2.0, 4.0, 8.0])
    assert found.episodes.tolist() == [0, 0, 1, 1]
    assert found.observations[:, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    # γ = ½ counts seven: only what leads to the true end is known.
    assert data_decisions(dataset, dataset, discount=0.5).returns.tolist() == [8.0, 8.0]


def test_unknown_returns_are_refused():
    """Trajectories that are cut before a return is known leave nothing to compare with."""
    dataset = Dataset.from_trajectories(
        np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3), np.ones(3), np.array([0.0, 0.0, 1.0])
    )
    with pytest.raises(ValueError, match="no return is known"):
        data_decisions(dataset, dataset, discount=0.9)


def test_calibration_of_right_values():
    """Values equal to the returns have no error and full correlation; 3 more are 3 too high."""
    returns = np.random.default_rng(0).normal(size=160)
    found = calibration(returns, decisions(returns, np.repeat(np.arange(10), 16)))
    assert (found.error.mean, found.bias.mean, found.episodes) == (0.0, 0.0, 10)
    assert found.spearman == pytest.approx((1.0, 1.0, 1.0))
    assert len(found.bins) == 8
    assert [one.value for one in found.bins] == pytest.approx([b.outcome.mean for b in found.bins])
    shifted = calibration(returns + 3, decisions(returns, np.repeat(np.arange(10), 16)))
    assert shifted.bias == pytest.approx((3.0, 3.0, 3.0))
    assert shifted.error.mean == pytest.approx(3.0)


def test_correlation_of_ranks():
    """Values 1, 2, 3, 4 of returns 10, 30, 20, 40: 1 − 6 · 2 / (4 · 15) = .8; ties have none."""
    found = calibration(np.arange(4.0), decisions([10, 30, 20, 40], [0, 0, 1, 1]))
    assert found.spearman.mean == pytest.approx(0.8)
    assert calibration(np.arange(4.0), decisions([7, 7, 7, 7], [0, 0, 1, 1])).spearman is None


def test_ranks_share_the_mean_of_theirs_where_values_are_equal():
    values = np.random.default_rng(0).integers(0, 9, 50) / 3
    np.testing.assert_array_equal(ranks(values), scipy.stats.rankdata(values))


def test_intervals_know_that_an_episode_is_one_draw():
    """100 equal decisions of an episode say no more than one: ± 1.96 σ / √episodes."""
    levels = np.random.default_rng(1).normal(size=50)
    rows = np.repeat(levels, 100)
    found = over_episodes(lambda own: rows[own].mean(), np.repeat(np.arange(50), 100))
    half = 1.96 * levels.std() / math.sqrt(50)
    assert found.mean == pytest.approx(levels.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    alone = over_episodes(lambda own: rows[own].mean(), np.zeros(5000))
    assert (alone.low, alone.high) == (-math.inf, math.inf)
