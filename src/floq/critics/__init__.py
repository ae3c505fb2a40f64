"""Critics: what estimates Q(s, a)."""

from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig

__all__ = ["FlowCritic", "FlowCriticConfig", "ScalarCritic", "ScalarCriticConfig"]
