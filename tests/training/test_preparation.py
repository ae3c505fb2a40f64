"""What is settled, and said, before a run begins."""

import dataclasses

import numpy as np
import pytest

from floq.algorithms import floq, fql, rebrac
from floq.critics.flow import FlowCriticConfig
from floq.data.dataset import Dataset
from floq.networks import NetworkConfig
from floq.training import train
from floq.training.preparation import as_decisions, statistics_of

NETWORK = NetworkConfig((4,))


def make_dataset(rewards, *, masks=1.0, shuffled=False):
    """Transitions of one trajectory, in order or not."""
    size = len(rewards)
    states = np.random.default_rng(0).normal(size=(size + 1, 2))
    following = states[1:] + 0.5 * shuffled
    masks = np.full(size, masks)
    return Dataset.from_transitions(states[:-1], np.zeros((size, 1)), rewards, masks, following)


@pytest.mark.filterwarnings("ignore:All rewards are 0")
def test_equal_rewards_are_refused_before_a_folder_is_made(tmp_path):
    """A flow critic cannot learn from them: the error names the range that one can give."""
    config = floq.Config(critic=FlowCriticConfig(network=NETWORK))
    with pytest.raises(ValueError, match=r"All rewards are 0, .*reward_range=\(low, high\)"):
        train(config, make_dataset(np.zeros(9)), directory=tmp_path / "run", steps=2)
    assert not (tmp_path / "run").exists()


def test_equal_rewards_without_an_end_are_said():
    """Every action is worth the same then; with true ends a constant reward is a shortest path."""
    with pytest.warns(UserWarning, match="All rewards are -1 and no transition is terminal"):
        statistics_of(fql.Config(), make_dataset(-np.ones(9)), None, None)
    statistics_of(fql.Config(), make_dataset(-np.ones(9), masks=0.0), None, None)
    found = statistics_of(fql.Config(), make_dataset(-np.arange(9.0)), None, None)
    assert (found.reward_min, found.reward_max) == (-8, 0)


def test_rewards_outside_of_the_given_range_are_said():
    """By decisions: those of two steps may earn the sum of both."""
    dataset = make_dataset(np.arange(9.0))
    with pytest.warns(UserWarning, match=r"earn 0 to 8, and reward_range=0, 5 allows for 0 to 5"):
        statistics_of(fql.Config(), dataset, None, (0.0, 5.0))
    config = fql.Config(n_step=2)
    with pytest.warns(UserWarning, match="leaves out"):
        decisions = as_decisions(dataset, config)
    statistics_of(config, decisions, None, (0.0, 8.0))


def test_a_penalty_on_next_actions_that_are_not_there_is_said():
    """Shuffled transitions have none; ReBRAC without the penalty needs none."""
    shuffled = make_dataset(np.arange(9.0), shuffled=True)
    with pytest.warns(UserWarning, match="critic_bc_coefficient .* no transition has one"):
        as_decisions(shuffled, rebrac.Config())
    as_decisions(shuffled, dataclasses.replace(rebrac.Config(), critic_bc_coefficient=0.0))
    as_decisions(make_dataset(np.arange(9.0)), rebrac.Config())
