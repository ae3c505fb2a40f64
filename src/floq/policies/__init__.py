"""Policies: what chooses actions."""

from floq.policies.flow import FlowPolicy, FlowPolicyConfig, FlowPolicyDraws

__all__ = ["FlowPolicy", "FlowPolicyConfig", "FlowPolicyDraws"]
