"""Problems whose values are known: the truth is true, and the data is theirs."""

import dataclasses

import numpy as np
import pytest

from floq.studies.value_problems import VALUE_RANGE, Maze, Waves, collect, statistics

WAVES = Waves(side=8, transitions=4096)
MAZE = Maze(side=8, walls=0.15, policy_noise=0.3, transitions=4096)
FAMILIES = [pytest.param(WAVES, id="waves"), pytest.param(MAZE, id="maze")]


def simulated_values(mdp, state, action, random, *, episodes=2000, steps=200):
    """Discounted returns of episodes from one pair, by walking through the MDP."""
    states, actions = np.full(episodes, state), np.full(episodes, action)
    returns, alive = np.zeros(episodes), np.ones(episodes)
    for step in range(steps):
        returns += mdp.discount**step * alive * mdp.rewards[states, actions]
        following = mdp.following[states, actions].cumsum(axis=1)
        states = (random.uniform(size=(episodes, 1)) > following).sum(axis=1)
        alive = alive * ~mdp.terminal[states]
        chances = mdp.policy[states].cumsum(axis=1)
        actions = (random.uniform(size=(episodes, 1)) > chances).sum(axis=1)
    return returns


@pytest.mark.parametrize("problem", FAMILIES)
def test_values_are_the_returns_that_follow(problem):
    """Q of a pair is the mean return of episodes that start with it, within four deviations."""
    random = np.random.default_rng(0)
    mdp = problem.sample(random)
    values = mdp.values()
    for state in random.choice(np.flatnonzero(mdp.valid), 3):
        returns = simulated_values(mdp, state, 1, random)
        deviation = returns.std() / np.sqrt(len(returns))
        assert abs(returns.mean() - values[state, 1]) < 4 * deviation + 1e-3


@pytest.mark.parametrize("discount", [0.5, 0.95, 0.999])
def test_waves_span_the_range_of_values_at_any_horizon(discount):
    """The waves were chosen first: what linear algebra finds are the same waves, from −10 to 0."""
    mdp = dataclasses.replace(WAVES, discount=discount).sample(np.random.default_rng(1))
    values = mdp.values()
    np.testing.assert_allclose([values.min(), values.max()], [-VALUE_RANGE, 0], atol=1e-6)


def test_values_of_a_maze_count_the_steps_to_the_goal():
    """Without slips and noise, Q = −10 (1 − γ^d), d steps being left along the shortest way."""
    problem = Maze(side=6, walls=0.2, stochasticity=0.0, discount=0.9)
    mdp = problem.sample(np.random.default_rng(2))
    best = mdp.values().max(axis=1)
    (goal,) = np.flatnonzero(mdp.terminal)
    reached = mdp.following.argmax(axis=-1)
    beside = [state for state in np.flatnonzero(mdp.valid) if goal in reached[state]]
    np.testing.assert_allclose(best[beside], -VALUE_RANGE * 0.1)
    steps = np.log(1 + best[mdp.valid] / VALUE_RANGE) / np.log(0.9)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert steps.max() > 4


@pytest.mark.parametrize("problem", FAMILIES)
def test_chunks_of_a_random_policy_are_worth_what_single_steps_are(problem):
    """Σ over chunks of π(c) Q(s, c) is V(s), however many steps a chunk has."""
    mdp = dataclasses.replace(problem, policy_noise=1.0).sample(np.random.default_rng(3))
    single = mdp.values().mean(axis=1)
    chunked = mdp.values(2)
    assert chunked.shape == (64, 16)
    np.testing.assert_allclose(chunked.mean(axis=1), single, atol=1e-9)


def test_a_chunk_is_worth_its_rewards_and_what_comes_after():
    """Q(s, (a, b)) = r(s, a) + γ r(s′, b) + γ² V(s″) where nothing is left to chance."""
    mdp = dataclasses.replace(WAVES, stochasticity=0.0, policy_noise=1.0).sample(
        np.random.default_rng(4)
    )
    reached = mdp.following.argmax(axis=-1)
    state_values = mdp.values().mean(axis=1)
    sequences = mdp.sequences(2)
    first, second = sequences[6]
    middle = reached[5, first]
    by_hand = mdp.rewards[5, first] + 0.95 * mdp.rewards[middle, second]
    by_hand += 0.95**2 * state_values[reached[middle, second]]
    np.testing.assert_allclose(mdp.values(2)[5, 6], by_hand)


def test_rough_values_change_more_from_cell_to_cell():
    """Neighbouring cells differ more, the more periods the waves have."""

    def change(roughness):
        problem = Waves(roughness=roughness)
        mdp = problem.sample(np.random.default_rng(5))
        grid = mdp.values().reshape(16, 16, -1)
        return np.abs(np.diff(grid, axis=0)).mean() / grid.std()

    assert change(4) > 1.3 * change(2) > 1.7 * change(1)


@pytest.mark.parametrize("problem", FAMILIES)
def test_data_are_steps_of_the_mdp(problem):
    """Every transition has the reward of its pair and leads where the MDP may lead."""
    random = np.random.default_rng(6)
    mdp = problem.sample(random)
    data = collect(mdp, problem.transitions, random)
    starts = np.asarray(data.dataset.transitions)
    assert len(starts) == problem.transitions
    pairs = np.asarray(data.states)[starts], data.chosen[starts]
    assert mdp.valid[pairs[0]].all()
    np.testing.assert_allclose(data.dataset.rewards[starts], mdp.rewards[pairs], rtol=1e-5)
    assert (mdp.following[(*pairs, data.reached[starts])] > 0).all()
    ended = mdp.terminal[data.reached[starts]]
    np.testing.assert_array_equal(data.dataset.masks[starts], ~ended)
    following = np.asarray(data.states)[starts + 1]
    np.testing.assert_array_equal(following[~ended], data.reached[starts][~ended])
    assert ended.any() == mdp.terminal.any()


def test_a_table_of_much_data_is_the_truth():
    """Without slips, one visit of a pair says all: the estimated MDP is the MDP."""
    random = np.random.default_rng(7)
    for problem in (WAVES, MAZE):
        mdp = dataclasses.replace(problem, stochasticity=0.0).sample(random)
        table = mdp.estimated(collect(mdp, problem.transitions, random))
        np.testing.assert_allclose(table.values()[mdp.valid], mdp.values()[mdp.valid], atol=1e-9)


@pytest.mark.parametrize("change", [{}, {"n_step": 3}, {"action_chunk": 2, "n_step": 2}], ids=str)
def test_every_seed_of_a_problem_has_data_of_the_same_shapes(change):
    """Also where episodes end early: a program that is compiled for one seed fits them all."""
    shapes = set()
    for seed in range(3):
        random = np.random.default_rng(seed)
        data = collect(MAZE.sample(random), MAZE.transitions, random, **change)
        shapes.add((data.dataset.size, data.dataset.observations.shape))
    assert len(shapes) == 1


def test_critics_are_told_the_range_of_the_values():
    """Rewards within the range add up to [−10, 0] at every discount."""
    for discount in (0.5, 0.99):
        told = statistics(8, 2, discount)
        assert told.reward_min / (1 - discount) == pytest.approx(-VALUE_RANGE)
        assert told.reward_max == 0


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Waves(discount=1.0), "discount"),
        (lambda: Waves(roughness=5), "roughness"),
        (lambda: Waves(stochasticity=1.5), "stochasticity"),
        (lambda: Waves(transitions=100), "transitions"),
        (lambda: Maze(walls=0.6), "walls"),
        (lambda: Maze(policy_noise=-0.1), "policy_noise"),
        (lambda: Maze(observation_dim=4), "observation_dim"),
        (lambda: Maze(side=3), "side"),
    ],
)
def test_impossible_problems_are_refused(make, named):
    """The error names the knob."""
    with pytest.raises(ValueError, match=named):
        make()
