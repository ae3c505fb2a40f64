"""Environments: making them, and stepping many of them at once."""

from floq.envs.make import EnvironmentSpec, make_env, spec_of
from floq.envs.names import environment_id

__all__ = ["EnvironmentSpec", "environment_id", "make_env", "spec_of"]
