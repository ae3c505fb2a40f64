"""Policies that leave: programs of jax, ONNX and numpy, and the server that drives robots."""

from floq.export.floq_policy import Policy, load_policy
from floq.export.folder import Trained, export_policy, in_memory
from floq.export.formats import Format

__all__ = ["Format", "Policy", "Trained", "export_policy", "in_memory", "load_policy"]
