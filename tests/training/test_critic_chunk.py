"""A run whose critic reads longer chunks than its policy plans, from data to pages."""

import jax
import numpy as np
import pytest

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.inspecting import inspect
from floq.inspection import probe
from floq.presets.changes import small
from floq.reports.report import report
from floq.training import Schedule, train
from tests.finished_run import MAZE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:critic_chunk=6 leaves out")
def test_everything_knows_both_lengths(maze_data, tmp_path):
    """Decisions and their discount are the critic's, the actor's plan is the policy's.

    Report and inspection read each critic at the actions that it knows.
    """
    critic = FlowCriticConfig(integration_steps=2, noise_samples=2)
    config = floq.Config(critic=critic, batch_size=4, action_chunk=2, critic_chunk=6)
    run = train(
        small(config, width=8, depth=1),
        maze_data,
        env=MAZE,
        steps=2,
        directory=tmp_path / "run",
        schedule=Schedule(log_interval=1, evaluation_interval=2, evaluation_episodes=1),
        processes=0,
        progress=False,
    )
    statistics = run.config.statistics
    assert statistics.action_dim == 6 * 2
    assert statistics.reward_min >= -sum(config.discount**step for step in range(6))
    assert len(run.action_bounds[0]) == 2
    actor = run.actor(seed=0)
    actor.reset()
    assert actor.act(np.zeros(2)).shape == (2,)
    parameters = run.state_of(0).parameters
    assert parameters.policy.action_dim == 2 * 2
    horizon = 1 / (1 - config.discount**6)
    np.testing.assert_allclose(
        parameters.critic.noise_interval[0], 0.1 * statistics.reward_min * horizon, rtol=1e-5
    )
    assert probe.critic_of(run, 0) is not probe.judge_of(run, 0)
    assert jax.tree.leaves(probe.judge_of(run, 0))
    assert report(run.directory).exists()
    assert inspect(run.directory, episodes=1, dataset=maze_data, processes=0).exists()
