"""Critics: what estimates Q(s, a)."""

from floq.critics.categorical import CategoricalCritic, CategoricalCriticConfig
from floq.critics.common import CriticConfig
from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.quantile import QuantileCritic, QuantileCriticConfig
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.settings import register_kind


def register_critic(name: str, config: type) -> None:
    """Makes a critic of your own known, in this process, to algorithms that take any critic.

    FQL takes any: `floq.FQLConfig(critic=MyCriticConfig())`. On the command line, `--plugin MODULE`
    imports the module that calls this; there, `floq.register_preset` gives such settings a name.

    Args:
        name: What `config.json` calls it, as the critic's `kind`.
        config: A frozen dataclass, derived from `CriticConfig`, whose `create` makes the critic.

    Raises:
        TypeError: If it is no such class.
        ValueError: If the name, or the class, is registered already.
    """
    if getattr(config, "create", None) is CriticConfig.create:
        raise TypeError(f"{config.__name__} has no create: add it, since it makes the critic.")
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
