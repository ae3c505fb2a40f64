"""The same method with other networks: small ones for a CPU, or faster ones."""

import dataclasses
from typing import Any

from floq.algorithms import floq
from floq.networks import NetworkConfig


def small(config: Any, *, width: int = 64, depth: int = 3) -> Any:
    """The same method with small networks, for a CPU, and images of up to 64 × 64 pixels.

    Args:
        config: The settings of any algorithm.
        width: Width of every hidden layer.
        depth: Number of hidden layers.
    """
    config = with_networks(config, hidden_sizes=(width,) * depth)
    if not hasattr(config, "encoder"):
        return config
    encoder = dataclasses.replace(
        config.encoder, channels=(8, 16, 16), residual_blocks=0, features=width
    )
    return dataclasses.replace(config, encoder=encoder)


def fast(config: Any) -> Any:
    """The same method with less work in an update, which costs no learning that was seen.

    All networks multiply in bfloat16 where the processor has units for it, and floq's distilled
    critic learns from 2 samples in one step instead of from m in K. docs/log/performance.md has
    what it gains, docs/log/studies.md (less-work) what it was compared on.

    Args:
        config: The settings of any algorithm.
    """
    config = with_networks(config, precision="fastest")
    if isinstance(config, floq.Config):
        samples = min(2, config.critic.noise_samples)
        config = dataclasses.replace(config, distillation_samples=samples, distillation_steps=1)
    return config


def with_networks(config: Any, **changes: Any) -> Any:
    """The same settings with every network changed.

    Args:
        config: The settings of any algorithm, or of a part of one.
        changes: Fields of `NetworkConfig`.
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, NetworkConfig):
            found[field.name] = dataclasses.replace(value, **changes)
        elif dataclasses.is_dataclass(value):
            found[field.name] = with_networks(value, **changes)
    return dataclasses.replace(config, **found)
