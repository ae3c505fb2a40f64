"""A finished run that tests of pages and of inspection share."""

import json
import shutil

import numpy as np
import pytest

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.data.dataset import Dataset
from floq.envs.make import EnvironmentSpec
from floq.presets.changes import small
from floq.training import Schedule, train

MAZE = EnvironmentSpec("pointmaze-medium-singletask-task5-v0", {"max_episode_steps": 20})


@pytest.fixture(scope="session")
def maze_data():
    """Made-up data of a real maze: three trajectories of 20 states."""
    generator = np.random.default_rng(0)
    terminals = np.zeros(60)
    terminals[19::20] = 1
    return Dataset.from_trajectories(
        generator.uniform(0, 20, (60, 2)),
        generator.uniform(-1, 1, (60, 2)),
        -generator.integers(0, 2, 60).astype(float),
        np.ones(60),
        terminals,
    )


@pytest.fixture(scope="session")
def finished(maze_data, tmp_path_factory):
    """A finished run of two seeds with action chunks, on made-up data of a real maze."""
    critic = FlowCriticConfig(integration_steps=3, noise_samples=2)
    config = floq.Config(critic=critic, batch_size=4, action_chunk=2)
    return train(
        small(config, width=8, depth=1),
        maze_data,
        env=MAZE,
        seeds=(3, 5),
        steps=4,
        directory=tmp_path_factory.mktemp("runs") / "finished",
        schedule=Schedule(
            log_interval=2,
            evaluation_interval=2,
            evaluation_episodes=2,
            evaluate_bc=True,
            checkpoint_interval=2,
        ),
        processes=0,
        progress=False,
    )


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the run's directory, to be damaged."""

    def make(name="copy", *, without=(), **changes):
        path = tmp_path / name
        shutil.copytree(finished.directory, path)
        for part in without:
            shutil.rmtree(path / part) if (path / part).is_dir() else (path / part).unlink()
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | changes))
        return path

    return make
