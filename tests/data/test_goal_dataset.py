import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floq.algorithms import iql
from floq.critics import FlowCriticConfig
from floq.data.dataset import Dataset
from floq.data.goals import Goals
from floq.presets.changes import small
from floq.training.preparation import as_goals
from tests.data import mazes
from tests.data.taken import sample
from tests.draws import draws

GAMMA = 0.9
PLACES = Goals(goal_entries=(0, 1))


def config(**changes):
    return iql.Config(discount=GAMMA, **changes)


def numbered(lengths, *, masks=None):
    """Trajectories of so many states, each of which is its row's number."""
    rows = np.arange(sum(lengths))
    return Dataset.from_trajectories(
        rows[:, None],
        np.zeros((len(rows), 1)),
        rows.astype(float),
        np.ones(len(rows)) if masks is None else masks,
        np.isin(rows, np.cumsum(lengths) - 1),
        layout="states",
    )


@jax.jit
def at_goals(dataset, positions, goals):
    return dataset.relabelled(positions, goals, goals)


def relabelled(dataset, rows, goals):
    """The transitions from some rows, with some rows as goals."""
    positions = np.searchsorted(dataset.dataset.transitions, rows)
    return at_goals(dataset, positions, np.array(goals))


@functools.partial(jax.jit, static_argnums=(2, 3))
def goal_rows(dataset, rows, shares, future, key):
    return dataset.goal_rows(rows, shares, future, key=key)


def test_published_proportions():
    """Of a critic's goals .2 are the state, .5 lie ahead, .3 anywhere; the policy's lie ahead."""
    dataset = as_goals(numbered([50] * 40), config(), Goals())
    batch = sample(dataset, 200_000, jax.random.key(0))
    rows, goals = np.asarray(batch.observations, int).T
    policy_rows, policy_goals = np.asarray(batch.policy_observations, int).T
    np.testing.assert_array_equal(policy_rows, rows)
    is_ahead = (goals > rows) & (goals // 50 == rows // 50)
    ahead_by_chance = np.mean(49 - rows % 50) / 2000
    assert np.mean(goals == rows) == pytest.approx(0.2 + 0.3 / 2000, abs=0.004)
    assert is_ahead.mean() == pytest.approx(0.5 + 0.3 * ahead_by_chance, abs=0.005)
    others = goals[(goals != rows) & ~is_ahead]
    counts = np.bincount(others // 50, minlength=40) / len(goals)
    np.testing.assert_allclose(counts, 0.3 / 40, atol=0.0012)
    assert (policy_goals > policy_rows).all()
    assert (policy_goals // 50 == policy_rows // 50).all()


def test_how_far_ahead_goals_lie():
    """By the odds of the discount, all beyond the last state at that state; or anywhere alike."""
    dataset = as_goals(numbered([8, 8]), config(), Goals())
    rows, key = np.full(100_000, 2), jax.random.key(1)
    drawn = goal_rows(dataset, rows, (0.0, 1.0, 0.0), "geometric", key)
    shares = np.bincount(drawn, minlength=16) / len(rows)
    odds = (1 - GAMMA) * GAMMA ** np.arange(4)
    np.testing.assert_allclose(shares[3:8], [*odds, GAMMA**4], atol=0.006)
    drawn = goal_rows(dataset, rows, (0.0, 1.0, 0.0), "uniform", key)
    np.testing.assert_allclose(np.bincount(drawn)[3:] / len(rows), 1 / 5, atol=0.006)


@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    future=st.sampled_from(["geometric", "uniform"]),
)
@settings(max_examples=draws(3, 8))
def test_a_future_goal_never_crosses_its_trajectorys_end(lengths, seed, future):
    """It is a later row of the same trajectory, whatever their lengths."""
    dataset = as_goals(numbered(lengths), config(), Goals())
    rows = np.repeat(dataset.dataset.transitions, 20)
    goals = np.asarray(goal_rows(dataset, rows, (0.0, 1.0, 0.0), future, jax.random.key(seed)))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    np.testing.assert_array_equal(owners[goals], owners[rows])
    assert (goals > rows).all()


def test_a_goal_equal_to_the_state():
    """Reward 0 and mask 0; everywhere else -1 and 1, whatever the data's rewards and masks are."""
    masks = np.ones(12)
    masks[3] = 0
    dataset = as_goals(numbered([6, 6], masks=masks), config(), Goals())
    batch = relabelled(dataset, [3, 3, 3], [3, 4, 9])
    np.testing.assert_array_equal(batch.rewards, [0, -1, -1])
    np.testing.assert_array_equal(batch.masks, [0, 1, 1])
    np.testing.assert_array_equal(batch.observations, [[3, 3], [3, 4], [3, 9]])
    np.testing.assert_array_equal(batch.next_observations, [[4, 3], [4, 4], [4, 9]])


def test_a_state_near_its_goal_is_at_it():
    """By the distance in the entries that are the goal, if a tolerance says so."""
    walks = mazes.walks(trajectories=2)
    near = as_goals(walks, config(), Goals(goal_entries=(0, 1), goal_tolerance=1.0))
    places = np.asarray(walks.observations)[:, :2]
    goals = np.random.default_rng(0).integers(0, 100, 40)
    batch = relabelled(near, np.arange(40), goals)
    distance = np.linalg.norm(places[:40] - places[goals], axis=1)
    np.testing.assert_array_equal(batch.masks, distance > 1)
    np.testing.assert_array_equal(np.asarray(batch.observations)[:, 3:], places[goals])
    assert near.sizes == (5, 2)


@pytest.mark.filterwarnings("ignore:.*leaves out")
@pytest.mark.parametrize("lengths", [{"action_chunk": 4}, {"action_chunk": 2, "n_step": 2}])
def test_rewards_along_a_lookahead_end_at_the_goal(lengths):
    """Each step costs 1 until the goal, where what the lookahead earns, and its value, end."""
    dataset = as_goals(numbered([9, 9]), config(**lengths), Goals())
    batch = relabelled(dataset, [1, 1, 1, 1, 1], [1, 3, 4, 5, 12])
    costs = [0, 1 + GAMMA, 1 + GAMMA + GAMMA**2]
    costs += [sum(GAMMA**step for step in range(4))] * 2
    np.testing.assert_allclose(batch.rewards, -np.array(costs), rtol=1e-6)
    np.testing.assert_array_equal(batch.masks, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(np.asarray(batch.next_observations)[:, 0], [5] * 5)
    assert dataset.statistics.reward_min == pytest.approx(-costs[-1])
    assert dataset.statistics.reward_max == 0
    # No decision looks past its trajectory's last state, though the goals may be that state.
    np.testing.assert_array_equal(dataset.dataset.transitions, [*range(5), *range(9, 14)])
    np.testing.assert_array_equal(dataset.last_rows, [8] * 9 + [17] * 9)


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_ends_of_the_data_count_for_nothing():
    """A true end within a lookahead shortens nothing: its rows stay in their trajectory."""
    masks = np.ones(9)
    masks[7] = 0
    dataset = as_goals(numbered([9], masks=masks), config(n_step=4), Goals())
    np.testing.assert_array_equal(dataset.dataset.transitions, range(5))
    assert relabelled(dataset, [4], [0]).masks == 1


def test_the_data_is_stored_once():
    """Beside it there are 4 bytes a row, and its arrays are the very ones."""
    data = numbered([50] * 4)
    dataset = as_goals(data, config(), Goals())
    assert dataset.dataset.observations is data.observations
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(dataset)) == data.nbytes + 4 * 200


def test_values_are_the_discounted_distances():
    """Value iteration on what the sampler draws of a maze gives -(1 - γ^d) / (1 - γ) exactly."""
    dataset = as_goals(mazes.walks(), config(), PLACES)
    batch = sample(dataset, 60_000, jax.random.key(0))
    observations = np.asarray(batch.observations)
    number = {cell: place for place, cell in enumerate(mazes.CELLS)}

    def cells(columns):
        return np.array([number[tuple(place)] for place in np.asarray(columns, int)])

    states, goals = cells(observations[:, :2]), cells(observations[:, 3:])
    after = cells(np.asarray(batch.next_observations)[:, :2])
    moves = np.argmax(np.asarray(batch.actions) @ mazes.MOVES.T, axis=1)
    shape = (len(mazes.CELLS), len(mazes.MOVES), len(mazes.CELLS))
    values, seen = np.zeros(shape), np.zeros(shape, bool)
    seen[states, moves, goals] = True
    assert seen.all()
    for _ in range(40):
        best = values[after, :, goals].max(axis=1)
        targets = np.asarray(batch.rewards) + GAMMA * np.asarray(batch.masks) * best
        values[states, moves, goals] = targets
    np.testing.assert_allclose(values, -expected_costs(), atol=1e-6)


def expected_costs():
    """(1 - γ^d) / (1 - γ) of every cell, move and goal, d the steps by this move first."""
    steps = 1 + mazes.distances()[mazes.following()]
    steps[np.arange(len(steps)), :, np.arange(len(steps))] = 0
    return (1 - GAMMA**steps) / (1 - GAMMA)


@pytest.mark.slow
def test_a_flow_critic_learns_the_discounted_distances(optimised):
    """IQL with a flow critic: its values lie near those of the maze, and rank moves as they do."""
    rule = small(config(critic=FlowCriticConfig(integration_steps=4, noise_samples=4)), depth=2)
    settings = iql.Config(
        critic=rule.critic,
        value_network=rule.value_network,
        policy=rule.policy,
        discount=GAMMA,
        expectile=0.95,
        batch_size=128,
        learning_rate=1e-3,
        target_rate=0.02,
    )
    dataset = as_goals(mazes.walks(), settings, PLACES)
    state = iql.init(settings, dataset.statistics, key=jax.random.key(0))

    def step(state, key):
        batch_key, update_key = jax.random.split(key)
        batch = dataset.sample(settings.batch_size, key=batch_key)
        return iql.update(settings, state, batch, key=update_key)[0], None

    keys = jax.random.split(jax.random.key(1), 4000)
    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, keys))(state)
    places = np.array(mazes.CELLS, np.float32)
    grid = np.stack(np.meshgrid(*map(np.arange, expected_costs().shape), indexing="ij"), -1)
    state_at, move, goal = grid.reshape(-1, 3).T
    clock = np.full((len(move), 1), 0.5)
    observations = np.hstack([places[state_at], clock, places[goal]]).astype(np.float32)
    critic = state.parameters.critic
    noise = critic.sample_noise((len(move), 16), key=jax.random.key(2))
    actions = (0.5 * mazes.MOVES[move]).astype(np.float32)
    values = critic.values(jnp.asarray(observations), jnp.asarray(actions), noise)
    error = np.abs(np.asarray(values) + expected_costs().ravel()).mean()
    assert error < 0.1 * expected_costs().max(), error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"value_goals": (0.5, 0.5, 0.5)}, "value_goals is.*whose sum is 1"),
        ({"policy_goals": (-0.5, 1.0, 0.5)}, "policy_goals is.*of 0 or more"),
        ({"goal_entries": (0, 0)}, "goal_entries is.*all of them different"),
        ({"goal_tolerance": -1.0}, r"goal_tolerance is -1\.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    """The error names the setting, its value and what is due."""
    with pytest.raises(ValueError, match=message):
        Goals(**settings)


def test_entries_that_no_observation_has_are_refused():
    """With the number of those that there are."""
    with pytest.raises(ValueError, match="an observation has 1 entries"):
        as_goals(numbered([5]), config(), PLACES)
