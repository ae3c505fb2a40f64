"""Every algorithm of the library learns online."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_algorithm as tiny

from floq.algorithms import bc, floq, fql, ifql, iql, rebrac
from floq.critics import CategoricalCriticConfig, QuantileCriticConfig
from floq.presets.changes import small
from floq.training import Online, Schedule, train

CONFIGS = {
    "floq": floq.Config(candidates=2),
    "decoupled": floq.Config(critic_chunk=4, candidates=2),
    "fql": fql.Config(),
    "quantile": fql.Config(critic=QuantileCriticConfig()),
    "categorical": fql.Config(critic=CategoricalCriticConfig()),
    "rebrac": rebrac.Config(),
    "iql": iql.Config(),
    "ifql": ifql.Config(),
    "bc": bc.Config(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_it_learns_offline_and_online(name, tmp_path):
    """Ten updates on data, then one for each of 50 steps but the first: all finite, all counted."""
    config = small(
        dataclasses.replace(CONFIGS[name], batch_size=8, action_chunk=2), width=8, depth=1
    )
    run = train(
        config,
        tiny.make_dataset(),
        directory=tmp_path / "run",
        env="Pendulum-v1",
        reward_range=(-17.0, 0.0),
        steps=10,
        online=Online(steps=50),
        schedule=Schedule(log_interval=10, evaluation_interval=10**6, evaluation_episodes=1),
        processes=0,
        progress=False,
    )
    steps = jax.tree.leaves(run.state.step)[0].tolist()
    assert 10 + 45 < steps[0] < 10 + 50
    last = [row for row in run.metrics if row["step"] == 60]
    assert len(last) == 1
    assert all(np.isfinite(value) for value in last[0].values())
