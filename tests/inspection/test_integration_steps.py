import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import fql
from floq.commands.readings import explanation
from floq.evaluation import evaluate
from floq.inspection.integration_steps import (
    StepReadings,
    acts_by_the_flow,
    at_integration_steps,
    read_at_steps,
)
from floq.inspection.probe import decision_values
from floq.inspection.returns import Decisions, root_mean_square
from floq.reports.readings import readings_table


def with_settings(run, **settings):
    config = dataclasses.replace(run.config.config, **settings)
    return dataclasses.replace(run, config=run.config._replace(config=config))


@pytest.fixture(scope="module")
def decisions():
    """Decisions of two episodes with made-up returns."""
    generator = np.random.default_rng(0)
    return Decisions(
        generator.uniform(0, 20, (12, 2)).astype(np.float32),
        generator.uniform(-1, 1, (12, 4)).astype(np.float32),
        generator.uniform(-50, 0, 12),
        np.repeat([0, 1], 6),
        5,
    )


@pytest.fixture(scope="module")
def readings(finished, decisions):
    """The two seeds of a run with K = 3, which acts by the best of two, read at K = 1 too."""
    run = with_settings(finished, candidates=2)
    own = {3: decisions, 5: decisions}
    return run, read_at_steps(run, [1], own, episodes=2, processes=0)


def test_another_k_changes_nothing_but_the_steps(finished, decisions):
    """The arrays are the same ones, and K = 1 adds one velocity to the start."""
    run = at_integration_steps(finished, 1)
    critic, before = (one.state_of(5).parameters.critic for one in (run, finished))
    assert critic.config == dataclasses.replace(before.config, integration_steps=1)
    points = jnp.asarray(decisions.observations), jnp.asarray(decisions.actions)
    noise = jnp.full((12, 1), -3.0)
    velocities = eqx.filter_jit(before.velocities)(*points, noise, jnp.zeros_like(noise))
    samples = eqx.filter_jit(critic.return_samples)(*points, noise)
    np.testing.assert_allclose(samples, noise + velocities, rtol=1e-5)
    assert finished.config.config.critic.integration_steps == 3


def test_it_is_known_which_policies_read_the_flow(finished):
    """The best of several candidates by the flow does, the one-step policy does not."""
    assert acts_by_the_flow(with_settings(finished, candidates=2))
    assert not acts_by_the_flow(finished)


def test_readings_are_at_each_k_and_that_of_training(readings, decisions):
    """Errors and distances are those of the values at each K, over the same decisions."""
    run, found = readings
    assert [one.steps for one in found.readings] == [1, 3]
    assert (found.trained, found.seeds, found.episodes) == (3, (3, 5), 2)
    values = {
        steps: np.concatenate(
            [
                decision_values(
                    at_integration_steps(run, steps).state_of(seed).parameters.critic,
                    decisions.observations,
                    decisions.actions,
                )
                for seed in (3, 5)
            ]
        )
        for steps in (1, 3)
    }
    returns = np.tile(decisions.returns, 2)
    for one in found.readings:
        own = values[one.steps]
        error = root_mean_square(own - returns)
        assert one.error.mean == pytest.approx(error)
        assert one.change.mean == pytest.approx(error - root_mean_square(values[3] - returns))
        assert one.bias == pytest.approx((own - returns).mean())
        assert one.distance == pytest.approx(root_mean_square(own - values[3]))
    assert found.readings[1].change == (0.0, 0.0, 0.0)
    assert found.readings[0].distance > 0
    assert found.readings[0].error.low < found.readings[0].error.mean


def test_success_is_that_of_the_policy_at_its_k(readings):
    """At every K, what the evaluator finds for the policy that reads the flow there."""
    run, found = readings
    assert found.acting
    assert found.figure == "success"
    read = at_integration_steps(run, 1)
    rates = [
        evaluate(read.policy_of(seed), run.config.environment, episodes=2, processes=0).success_rate
        for seed in (3, 5)
    ]
    assert found.readings[0].result.mean == pytest.approx(np.mean(rates))


def test_one_step_policy_has_one_success(finished, decisions):
    """Where acting reads no flow, it is played once and has the same result at every K."""
    found = read_at_steps(finished, [1], {3: decisions}, episodes=1, processes=0)
    assert not found.acting
    assert found.readings[0].result == found.readings[1].result is not None
    header, rows = readings_table(found)
    assert header[-1] == "success"
    assert [row[0] for row in rows] == ["1", "3"]
    assert all(len(row) == len(header) for row in rows)


def test_it_is_said_whose_episodes_they_are():
    """Of the one seed, or of each of several."""
    of_one = StepReadings(4, [], (0,), 20, False, "success")
    assert "(20 episodes of seed 0)" in explanation(of_one)
    of_two = dataclasses.replace(of_one, seeds=(3, 5))
    assert "(20 episodes of each of the seeds 3, 5)" in explanation(of_two)


def test_no_steps_are_refused(finished, decisions):
    """K = 0 is no flow, and neither is FQL's critic."""
    fql_run = dataclasses.replace(finished, config=finished.config._replace(config=fql.Config()))
    with pytest.raises(ValueError, match="no flow critic"):
        at_integration_steps(fql_run, 4)
    with pytest.raises(ValueError, match="integration_steps is 0"):
        read_at_steps(finished, [4, 0], {3: decisions}, episodes=1)
