"""Bounds of actions: what is rescaled, what is recorded, what is refused."""

import gymnasium
import numpy as np
import pytest

from floq.data.bounds import action_bounds
from floq.data.dataset import Dataset
from floq.data.memory import ACTION_LIMIT


def rescaled(trajectories, actions, **bounds):
    """The dataset of the trajectories with other actions, given in the environment's units."""
    return Dataset.from_trajectories(**trajectories | {"actions": actions}, **bounds)


def transitions_of(trajectories):
    """The same data as separate transitions."""
    rows = np.flatnonzero(~trajectories["terminals"])
    fields = ("observations", "actions", "rewards", "masks")
    apart = {field: trajectories[field][rows] for field in fields}
    return apart | {"next_observations": trajectories["observations"][rows + 1]}


def test_actions_are_rescaled_to_the_bounds_by_hand(trajectories):
    """-2 becomes -1, the middle 0 and 4 becomes 1, each entry by its own bounds."""
    actions = np.zeros((11, 2))
    actions[:4] = [[-2, 10], [1, 15], [2.5, 17.5], [4, 20]]
    actions[4:, 1] = 15
    dataset = rescaled(trajectories, actions, action_low=[-2, 10], action_high=[4, 20])
    expected = [[-1, -1], [0, 0], [0.5, 0.5], [1, 1]]
    limit = np.float32(ACTION_LIMIT)
    np.testing.assert_array_equal(dataset.actions[:4], np.clip(np.float32(expected), -limit, limit))
    assert (dataset.action_low, dataset.action_high) == ((-2.0, 10.0), (4.0, 20.0))


def test_both_constructors_and_a_space_record_the_same(trajectories):
    """One number stands for all entries, and a box for both bounds."""
    trajectories["actions"] *= 2
    space = gymnasium.spaces.Box(-2, 2, (2,))
    whole = Dataset.from_trajectories(**trajectories, action_space=space)
    apart = Dataset.from_transitions(
        **transitions_of(trajectories), action_low=-2, action_high=[2.0, 2.0]
    )
    for dataset in (whole, apart):
        assert (dataset.action_low, dataset.action_high) == ((-2.0, -2.0), (2.0, 2.0))
    starts = np.asarray(whole.transitions)
    np.testing.assert_array_equal(whole.actions[starts], trajectories["actions"][starts] / 2)
    np.testing.assert_array_equal(apart.actions[apart.transitions], whole.actions[starts])


def test_bounds_of_one_leave_every_bit(trajectories):
    """Tiny numbers and zeros of either sign come out as they went in."""
    trajectories["actions"][:3] = [[1e-38, -1e-30], [0.0, -0.0], [3e-8, -0.3]]
    plain = Dataset.from_trajectories(**trajectories)
    bounded = Dataset.from_trajectories(**trajectories, action_low=-1, action_high=1)
    assert np.asarray(plain.actions).tobytes() == np.asarray(bounded.actions).tobytes()
    assert plain.action_low is None
    assert bounded.action_low == (-1.0, -1.0)


def test_bounds_enter_the_fingerprint_only_where_they_are_given(trajectories):
    """The same actions on [-1, 1] that stand for other things are other data."""
    plain = Dataset.from_trajectories(**trajectories).fingerprint()
    one = Dataset.from_trajectories(**trajectories, action_low=-1, action_high=1).fingerprint()
    actions = trajectories["actions"].astype(np.float64) * 2
    two = rescaled(trajectories, actions, action_low=-2, action_high=2)
    np.testing.assert_array_equal(two.actions, trajectories["actions"])
    assert len({plain, one, two.fingerprint()}) == 3


def test_decisions_keep_the_bounds_of_one_step(trajectories):
    """A chunk's bounds are those of each of its actions."""
    dataset = Dataset.from_trajectories(**trajectories, action_low=-1, action_high=1)
    with pytest.warns(UserWarning, match="leaves out"):
        chunked = dataset.with_decisions(action_chunk=2, discount=0.9)
    assert chunked.action_low == (-1.0, -1.0)


def test_actions_beyond_their_bounds(trajectories):
    """Refused with the first such row as it was given; rounding within the width is not."""
    actions = np.zeros((11, 2))
    actions[3] = [2.00015, -2.00015]
    rescaled(trajectories, actions, action_low=-2, action_high=2)
    actions[5] = [0, 2.1]
    with pytest.raises(ValueError, match=r"within \[-2, 2\]: row 5 holds 2.1, and 1 row of 11"):
        rescaled(trajectories, actions, action_low=-2, action_high=2)
    with pytest.raises(ValueError, match=r"action_low \(-2, -1\) and action_high \(2, 1\): row 3"):
        rescaled(trajectories, actions, action_low=[-2, -1], action_high=[2, 1])
    with pytest.raises(ValueError, match=r"within \[-1, 1\]: row 3.*action_low= and action_high="):
        rescaled(trajectories, actions)


def test_actions_that_seem_to_be_rescaled_already_are_said(trajectories):
    """They reach -1 and 1 in every entry, and the bounds are wider."""
    actions = trajectories["actions"].copy()
    actions[:2] = [[1, -1], [-1, 1]]
    with pytest.warns(UserWarning, match="leave the bounds out"):
        rescaled(trajectories, actions, action_low=-2, action_high=2)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"action_low": -1}, "action_low is given without action_high"),
        ({"action_high": [1, 1]}, "action_high is given without action_low"),
        ({"action_low": 1, "action_high": -1}, "the lower bound must be below"),
        ({"action_low": [-1, 2], "action_high": 2}, "in entry 1"),
        ({"action_low": -np.inf, "action_high": np.inf}, "action_low is -inf, which is not finite"),
        ({"action_low": -1, "action_high": np.nan}, "action_high is nan, which is not finite"),
        ({"action_low": -1e300, "action_high": 1}, "action_low is -1e\\+300, which is not finite"),
        ({"action_low": [-1] * 3, "action_high": [1] * 3}, "have 3 entries and an action has 2"),
        ({"action_low": [-1] * 3, "action_high": [1] * 2}, "3 entries and action_high has 2"),
        ({"action_low": "-1", "action_high": "1"}, "action_low has the dtype"),
        ({"action_low": [[-1, -1]], "action_high": 1}, r"the shape \(1, 2\)"),
        ({"action_low": np.array([{}]), "action_high": 1}, "give a number, or one for each"),
        ({"action_low": [], "action_high": []}, r"the shape \(0,\)"),
        ({"action_space": gymnasium.spaces.Discrete(3)}, "no discrete actions"),
        ({"action_space": gymnasium.spaces.Box(-np.inf, np.inf, (2,))}, "not finite"),
        ({"action_space": gymnasium.spaces.Box(-1, 1, (2,)), "action_low": -1}, "one or the other"),
    ],
)
def test_wrong_bounds(trajectories, bounds, words):
    """Each is refused by name, with what is due."""
    with pytest.raises(ValueError, match=words):
        Dataset.from_trajectories(**trajectories, **bounds)


def test_bounds_are_the_same_however_they_are_written():
    """A number, a list and a box of float32 numbers give equal bounds."""
    one = action_bounds(-0.1, 0.7, None, source="here")
    each = action_bounds([-0.1] * 3, [0.7] * 3, None, source="here")
    box = action_bounds(None, None, gymnasium.spaces.Box(-0.1, 0.7, (3,)), source="here")
    assert box == each == one.each(3, source="here")
    assert one.equals(each)
    assert each.equals(one)
    assert not one.equals(action_bounds(-0.1, [0.7, 0.7, 0.8], None, source="here"))
