"""Critics: what estimates Q(s, a)."""

from floq.critics.categorical import CategoricalCritic, CategoricalCriticConfig
from floq.critics.common import CriticConfig
from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.quantile import QuantileCritic, QuantileCriticConfig
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.settings import register_kind


def register_critic(name: str, config: type[CriticConfig]) -> None:
    """Makes a critic of your own known, in this process, to algorithms that take any critic.

    Args:
        name: What `config.json` calls it.
        config: A frozen dataclass, derived from `CriticConfig`, whose `create` makes the critic.

    Raises:
        TypeError: If it is no such class.
        ValueError: If the name, or the class, is registered already.
    """
    register_kind(CriticConfig, name, config)


register_critic("scalar", ScalarCriticConfig)
register_critic("quantile", QuantileCriticConfig)
register_critic("categorical", CategoricalCriticConfig)
register_critic("flow", FlowCriticConfig)

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
    "register_critic",
]
