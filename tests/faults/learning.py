"""The real algorithm at a size at which it learns in milliseconds, in this process."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.critics.scalar import ScalarCriticConfig
from floq.data.dataset import Dataset
from floq.networks import NetworkConfig
from floq.policies.flow import FlowPolicyConfig
from floq.training import Run, Schedule, resume, train

_NETWORK = NetworkConfig((8,), layer_norm=True)
CONFIG = floq.Config(
    critic=FlowCriticConfig(integration_steps=2, noise_samples=2, network=_NETWORK),
    distilled=ScalarCriticConfig(network=_NETWORK),
    policy=FlowPolicyConfig(flow_steps=2, network=_NETWORK),
    batch_size=8,
)
SCHEDULE = Schedule(
    log_interval=20, evaluation_interval=20, evaluation_episodes=1, checkpoint_interval=10
)


def make_arrays(random: np.random.Generator, *, rows: int = 200) -> dict[str, np.ndarray]:
    """Sound trajectories of random numbers, by field; the last row of each ends it."""
    terminals = np.zeros(rows, np.float32)
    terminals[19::20] = terminals[-1] = 1
    return {
        "observations": random.normal(size=(rows, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, (rows, 1)).astype(np.float32),
        "rewards": random.uniform(-1, 0, rows).astype(np.float32),
        # A last row is a state, of which a mask says nothing.
        "masks": np.maximum(random.random(rows) < 0.9, terminals).astype(np.float32),
        "terminals": terminals,
    }


@functools.cache
def make_dataset() -> Dataset:
    """The dataset of such trajectories that everything small is trained on."""
    return Dataset.from_trajectories(**make_arrays(np.random.default_rng(0)))


def train_small(
    directory: Path, *, steps: int, config: floq.Config = CONFIG, **settings: Any
) -> Run:
    """Trains on that data in a new directory."""
    settings = {"schedule": SCHEDULE, "processes": 0, "progress": False, **settings}
    dataset = settings.pop("dataset", make_dataset())
    return train(config, dataset, directory=directory, steps=steps, **settings)


def resume_small(directory: Path, **settings: Any) -> Run:
    """Goes on with what `train_small` began."""
    settings = {"dataset": make_dataset(), "processes": 0, "progress": False, **settings}
    return resume(directory, **settings)
