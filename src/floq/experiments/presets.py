"""Published settings: what floq uses for each of the paper's tasks (arXiv 2509.06863)."""

import dataclasses
from typing import NamedTuple

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.critics.scalar import ScalarCriticConfig
from floq.data.paths import dataset_name
from floq.networks import NetworkConfig


class Preset(NamedTuple):
    """Settings for a task, and where they come from.

    Attributes:
        config: The algorithm's config.
        source: Who says so, for people to read.
    """

    config: floq.Config
    source: str


_TWO_LAYERS = NetworkConfig((512, 512), layer_norm=True)

# By exact name of the dataset; every task of it has the same settings.
_FLOQ = {
    "antmaze-large-navigate-v0": floq.Config(bc_coefficient=10.0),
    "antmaze-giant-navigate-v0": floq.Config(
        bc_coefficient=10.0,
        discount=0.995,
        batch_size=512,
        critic=FlowCriticConfig(aggregation="min"),
    ),
    "humanoidmaze-medium-navigate-v0": floq.Config(bc_coefficient=30.0, discount=0.995),
    "humanoidmaze-large-navigate-v0": floq.Config(
        bc_coefficient=20.0, discount=0.995, batch_size=512
    ),
    "antsoccer-arena-navigate-v0": floq.Config(bc_coefficient=10.0, discount=0.995),
    "cube-single-play-v0": floq.Config(
        bc_coefficient=300.0, critic=FlowCriticConfig(network=_TWO_LAYERS)
    ),
    "cube-double-play-v0": floq.Config(
        bc_coefficient=300.0, critic=FlowCriticConfig(network=_TWO_LAYERS)
    ),
    "scene-play-v0": floq.Config(bc_coefficient=300.0),
    "puzzle-3x3-play-v0": floq.Config(bc_coefficient=1000.0),
    "puzzle-4x4-play-v0": floq.Config(bc_coefficient=1000.0),
}


def preset(algorithm: str, task: str) -> floq.Config:
    """The settings of an algorithm for a task.

    Args:
        algorithm: Its name, such as `floq`.
        task: A task or a dataset, such as `cube-double-play-singletask-v0`.

    Returns:
        The published settings if there are any; otherwise the advised starting point.

    Raises:
        ValueError: If there is no such algorithm.
    """
    return find_preset(algorithm, task).config


def find_preset(algorithm: str, task: str) -> Preset:
    """The settings of `preset`, with their source."""
    if algorithm != "floq":
        raise ValueError(f"No algorithm is called {algorithm!r}: there is floq.")
    published = _FLOQ.get(dataset_name(task))
    if published is not None:
        return Preset(published, "arXiv 2509.06863, the default settings of its tables")
    return Preset(
        floq.Config(normalize_q=True, bc_coefficient=0.3),
        f"no published settings for {task}: the advised starting point for new tasks, to be tuned "
        "with bc_coefficient in 0.03, 0.1, 0.3, 1, 3, 10",
    )


def small(config: floq.Config, *, width: int = 64, depth: int = 3) -> floq.Config:
    """The same method with small networks, for a CPU.

    Args:
        config: The settings to shrink.
        width: Width of every hidden layer.
        depth: Number of hidden layers.
    """
    sizes = (width,) * depth
    critic = dataclasses.replace(config.critic, network=NetworkConfig(sizes, layer_norm=True))
    policy = dataclasses.replace(config.policy, network=NetworkConfig(sizes))
    distilled = ScalarCriticConfig(
        members=config.distilled.members, network=NetworkConfig(sizes, layer_norm=True)
    )
    return dataclasses.replace(config, critic=critic, policy=policy, distilled=distilled)
