"""Environments: making them, and stepping many of them at once."""

from floq.envs.make import EnvironmentSpec, environment_id, make_env, spec_of

__all__ = ["EnvironmentSpec", "environment_id", "make_env", "spec_of"]
