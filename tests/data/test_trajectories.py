"""What the last rows of trajectories are, and what decisions leave out."""

import numpy as np
import pytest

from floq.data.dataset import Dataset
from tests.data.taken import all_of


def d4rl():
    """Two episodes of three transitions as D4RL stores them: the first ends truly."""
    return {
        "observations": np.arange(6.0)[:, None],
        "actions": np.array([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6]]),
        "rewards": np.array([0.0, 0.0, 1.0, 0.0, 0.5, 0.25]),
        "masks": np.array([1, 1, 0, 1, 1, 1]),
        "terminals": np.array([0, 0, 1, 0, 0, 1]),
    }


def all_transitions(dataset):
    return all_of(dataset)


def test_rows_that_may_be_transitions_are_refused():
    """A mask of 0 at a last row would be lost: both ways out are named."""
    with pytest.raises(ValueError, match=r'row 2.*layout="transitions".*layout="states"') as caught:
        Dataset.from_trajectories(**d4rl())
    assert "masks is 0 at the last row of 1 of 2 trajectories" in str(caught.value)


def test_rewards_that_only_last_rows_have_are_refused():
    """A sparse reward at the end would be lost; other rewards there may be padding."""
    rows = d4rl() | {"masks": np.ones(6)}
    Dataset.from_trajectories(**rows)
    rows["rewards"] = np.array([0, 0, 0, 0, 0, 1.0])
    with pytest.raises(ValueError, match=r"rewards is 0\.0 everywhere but.*row 5 holds 1\.0"):
        Dataset.from_trajectories(**rows)
    Dataset.from_trajectories(**rows, layout="states")
    rows["rewards"] = np.array([-1, -1, 0, -1, -1, 0.0])
    Dataset.from_trajectories(**rows)


def test_transitions_by_hand():
    """The true end counts with reward and mask; the one that a time limit cut is left out, said."""
    with pytest.warns(UserWarning, match="1 transitions, the last ones of trajectories"):
        dataset = Dataset.from_trajectories(**d4rl(), layout="transitions")
    batch = all_transitions(dataset)
    np.testing.assert_array_equal(batch.observations[:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(batch.actions[:, 0], np.float32([0.1, 0.2, 0.3, 0.4, 0.5]))
    np.testing.assert_array_equal(batch.rewards, [0, 0, 1, 0, 0.5])
    np.testing.assert_array_equal(batch.masks, [1, 1, 0, 1, 1])
    alive = np.asarray(batch.masks) == 1
    np.testing.assert_array_equal(batch.next_observations[alive, 0], [1, 2, 4, 5])
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 0, 1, 0])


def test_values_of_transitions_are_those_of_the_problem():
    """Repeated backups over a chain whose only reward is its terminal one: γ^k, by hand."""
    length, episodes, discount = 10, 4, 0.9
    terminal = np.tile(np.arange(length) == length - 1, episodes)
    dataset = Dataset.from_trajectories(
        np.tile(np.arange(length, dtype=float), episodes)[:, None],
        np.zeros((length * episodes, 1)),
        terminal.astype(float),
        1.0 - terminal,
        terminal,
        layout="transitions",
    )
    assert dataset.size == length * episodes
    batch = all_transitions(dataset)
    now, following = (
        np.asarray(b[:, 0], int) for b in (batch.observations, batch.next_observations)
    )
    values = np.zeros(length)
    for _ in range(length):
        targets = np.asarray(batch.rewards) + discount * np.asarray(batch.masks) * values[following]
        values = np.array([targets[now == state].mean() for state in range(length)])
    np.testing.assert_allclose(values, discount ** np.arange(length - 1, -1, -1.0), rtol=1e-6)


def test_the_layout_of_states_is_as_ever():
    """Given or not, the arrays of the dataset are the rows that were given."""
    rows = d4rl() | {"masks": np.ones(6)}
    default, states = (
        Dataset.from_trajectories(**rows, **given) for given in ({}, {"layout": "states"})
    )
    assert default.fingerprint() == states.fingerprint()
    np.testing.assert_array_equal(states.transitions, [0, 1, 3, 4])


def test_fingerprints_of_old_runs_hold(trajectories):
    """Data without bounds has the fingerprints that it had in the first runs."""
    whole = Dataset.from_trajectories(**trajectories)
    assert whole.fingerprint()[:16] == "83accc1191fef7f1"
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    fields = rows, rows / 20 - 0.2, rows[:, 0], np.array([1, 1, 0, 1, 1, 1.0])
    apart = Dataset.from_transitions(*fields, rows + 2, ends=[0, 0, 1, 0, 0, 0])
    assert apart.fingerprint()[:16] == "d521c06efb2f0068"
    masks = np.array([1, 0, 1, 1, 1, 1.0])
    states = Dataset.from_trajectories(*fields[:3], masks, [0, 0, 1, 0, 0, 1])
    assert states.fingerprint()[:16] == "12fa929b65f44f29"


def test_masks_that_are_flags_of_ends_are_said():
    """Where every transition that goes on is terminal, 1 - masks may have been meant."""
    ends = np.zeros(60)
    ends[9::10] = 1
    states = np.arange(61.0)[:, None]
    fields = states[:-1], np.zeros((60, 1)), np.arange(60.0)
    Dataset.from_transitions(*fields, 1 - ends, states[1:], ends=ends)
    with pytest.warns(UserWarning, match="masks is 0 at each of the 54 transitions"):
        Dataset.from_transitions(*fields, ends, states[1:], ends=ends)


def of_lengths(lengths, *, terminal=False):
    """Trajectories of so many transitions; all of them end truly, or none."""
    ends = np.zeros(sum(lengths))
    ends[np.cumsum(lengths) - 1] = 1
    states = np.arange(len(ends) + 1.0)[:, None]
    masks = 1 - ends * terminal
    actions = np.zeros((len(ends), 1))
    return Dataset.from_transitions(
        states[:-1], actions, np.arange(len(ends)), masks, states[1:], ends=ends
    )


@pytest.mark.parametrize(
    ("lengths", "steps", "words"),
    [
        (
            [3] * 100 + [30],
            {"action_chunk": 5},
            r"=5 leaves out 304 of 330 transitions \(92%\): 100",
        ),
        ([3] * 100 + [30], {"n_step": 4}, r"n_step=4 leaves out 303 of 330 .*100 of 101 traj"),
        ([50, 50, 1], {"action_chunk": 2}, "1 of 3 trajectories are shorter than the 2 steps"),
        (
            [8, 8],
            {"action_chunk": 2, "n_step": 2},
            "looks 4 steps ahead, and the last 3 of each of 2",
        ),
    ],
)
def test_what_decisions_leave_out_is_said(lengths, steps, words):
    """How many, of how many, and why."""
    with pytest.warns(UserWarning, match=words):
        of_lengths(lengths).with_decisions(**steps, discount=0.9)


def test_the_ordinary_tail_is_not_spoken_of():
    """A tenth of the data or less, of all trajectories; nor are windows that a true end cuts."""
    assert of_lengths([40, 40]).with_decisions(action_chunk=5, discount=0.9).size == 72
    assert of_lengths([3] * 9, terminal=True).with_decisions(n_step=5, discount=0.9).size == 27


def test_why_no_decision_is_left():
    """Short trajectories are one cause, and transitions that do not follow one another another."""
    with pytest.raises(ValueError, match="the longest of 9 has 3: give a shorter action chunk"):
        of_lengths([3] * 9).with_decisions(action_chunk=4, discount=0.9)
    order = np.random.default_rng(0).permutation(50)
    states = np.arange(51.0)[:, None]
    shuffled = Dataset.from_transitions(
        states[:-1][order], np.zeros((50, 1)), np.arange(50), np.ones(50), states[1:][order] + 0.5
    )
    with pytest.raises(ValueError, match="no next observation equals the following row's obs"):
        shuffled.with_decisions(n_step=2, discount=0.9)
