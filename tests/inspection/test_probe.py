import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from floq.inspection import probe
from floq.recording import record


def test_values_do_not_depend_on_their_batch(finished):
    """The value of a state is the same alone and among more states than one call holds."""
    critic = probe.critic_of(finished, 3)
    states = np.random.default_rng(0).uniform(0, 20, (70, 2)).astype(np.float32)
    values, actions = probe.state_values(critic, finished.policy, states)
    alone, _ = probe.state_values(critic, finished.policy, states[:1])
    assert values.shape == (70,)
    assert actions.shape == (70, 4, 4)
    np.testing.assert_allclose(alone, values[:1], rtol=1e-5)


def test_maze_is_the_right_way_up(finished):
    """Walls have no value, and a point's value is that of the state at its place.

    Cell (row 1, column 2) of the maze lies around x = 4, y = 0, four points wide a side.
    """
    critic = probe.critic_of(finished, 3)
    recording = record(finished.policy, finished.config.environment, seed=0, render=False)
    view = probe.maze_view(critic, finished.policy, recording, finished.config.environment, seed=0)
    assert view.values.shape == (32, 32)
    assert view.extent == (-6.0, 26.0, -6.0, 26.0)
    assert np.isnan(view.values[:4]).all()
    assert np.isfinite(view.values[4:8, 4:12]).all()
    assert np.isnan(view.values[4:8, 12:20]).all()
    at_point = np.array([[4 - 1.5 + 2, -1.5]], np.float32)
    expected, _ = probe.state_values(critic, finished.policy, at_point)
    np.testing.assert_allclose(view.values[4, 10], expected[0], rtol=1e-5)
    # Task 5 leads from cell (2, 6) to cell (1, 1); both are blurred by up to 1.
    np.testing.assert_allclose(view.path[0], [20, 4], atol=1.01)
    np.testing.assert_allclose(view.goal, [0, 0], atol=1.01)
    # Chunks hold two actions of two entries: arrows are the first.
    centre, _ = view.centres, view.arrows
    _, actions = probe.state_values(critic, finished.policy, centre)
    np.testing.assert_allclose(view.arrows, actions[:, :, :2].mean(axis=1), rtol=1e-5)


def test_outcomes_are_discounted_returns(finished):
    """Rewards −1, −1, 0 at γ = ½ leave −1.5, −1, 0; without success nothing is claimed."""
    critic = probe.critic_of(finished, 3)
    recording = dataclasses.replace(
        record(finished.policy, finished.config.environment, seed=0, render=False),
        observations=np.zeros((4, 2), np.float32),
        actions=np.zeros((3, 2), np.float32),
        rewards=np.array([-1.0, -1.0, 0.0]),
        success=True,
    )
    view = probe.rollout_view(critic, finished.policy, recording, discount=0.5)
    assert view.steps.tolist() == [0, 1, 2]
    assert view.outcomes.tolist() == [-1.5, -1.0, 0.0]
    failed = dataclasses.replace(recording, success=False)
    assert probe.rollout_view(critic, finished.policy, failed, discount=0.5).outcomes is None


def test_flow_view_ends_where_the_critic_does(finished):
    """Paths start evenly over the noise interval and end at the critic's return samples."""
    critic = probe.critic_of(finished, 3)
    recording = record(finished.policy, finished.config.environment, seed=0, render=False)
    view = probe.rollout_flow_view(critic, finished.policy, recording, states=2, starts=3)
    low, high = critic.noise_interval
    assert view.labels == ("step 0 of the rollout", "step 19 of the rollout")
    np.testing.assert_allclose(view.times, [0, 1 / 3, 2 / 3, 1])
    assert view.paths.shape == (2, 2, 4, 3)
    np.testing.assert_allclose(view.paths[0, 0, 0], [low, (low + high) / 2, high], rtol=1e-5)
    observations = recording.observations[[0, 19]]
    _, actions = probe.state_values(critic, finished.policy, observations)
    ends = eqx.filter_jit(critic.return_samples)(
        *map(jnp.asarray, (observations, actions[:, 0], view.paths[:, 0, 0]))
    )
    np.testing.assert_allclose(view.paths[:, :, -1], np.moveaxis(ends, 0, 1), rtol=1e-4)
