"""Policies: what chooses actions."""

from floq.policies.deterministic import DeterministicPolicy, DeterministicPolicyConfig
from floq.policies.flow import (
    BehaviourDraws,
    BehaviourFlow,
    FlowPolicy,
    FlowPolicyConfig,
    FlowPolicyDraws,
)
from floq.policies.gaussian import GaussianPolicy, GaussianPolicyConfig

__all__ = [
    "BehaviourDraws",
    "BehaviourFlow",
    "DeterministicPolicy",
    "DeterministicPolicyConfig",
    "FlowPolicy",
    "FlowPolicyConfig",
    "FlowPolicyDraws",
    "GaussianPolicy",
    "GaussianPolicyConfig",
]
