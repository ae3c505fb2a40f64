"""Critics: what estimates Q(s, a)."""

from typing import get_args

from jaxtyping import Array, Key

from floq.critics.categorical import CategoricalCritic, CategoricalCriticConfig
from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.quantile import QuantileCritic, QuantileCriticConfig
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.types import Critic, Statistics

CriticConfig = (
    ScalarCriticConfig | QuantileCriticConfig | CategoricalCriticConfig | FlowCriticConfig
)


def create_critic(
    config: CriticConfig, statistics: Statistics, *, discount: float, key: Key[Array, ""]
) -> Critic:
    """The critic that a config describes.

    Args:
        config: Settings of one of the critics.
        statistics: Sizes of observations and actions, and the range of the rewards.
        discount: γ from one transition's observation to the next.
        key: Key of the initialisation.

    Raises:
        TypeError: If it is no config of these critics, such as one of a class derived from them.
        ValueError: If the discount or the range of rewards leaves no room for the critic.
    """
    kinds = get_args(CriticConfig)
    if type(config) not in kinds:
        raise TypeError(
            f"{type(config).__name__} is not a config of floq's critics: give "
            f"{' or '.join(kind.__name__ for kind in kinds)} itself, not a class derived from it."
        )
    match config:
        case ScalarCriticConfig():
            return ScalarCritic(statistics, config, key=key)
        case QuantileCriticConfig():
            return QuantileCritic(statistics, config, key=key)
        case CategoricalCriticConfig():
            return CategoricalCritic(statistics, config, discount=discount, key=key)
        case FlowCriticConfig():
            return FlowCritic(statistics, config, discount=discount, key=key)


__all__ = [
    "CategoricalCritic",
    "CategoricalCriticConfig",
    "CriticConfig",
    "FlowCritic",
    "FlowCriticConfig",
    "QuantileCritic",
    "QuantileCriticConfig",
    "ScalarCritic",
    "ScalarCriticConfig",
    "create_critic",
]
