"""floq: flow-matching Q-functions in JAX (arXiv 2509.06863)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from floq.algorithms.floq import Config as FloqConfig
    from floq.critics.flow import FlowCritic, FlowCriticConfig
    from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
    from floq.data.dataset import Dataset
    from floq.envs.make import make_env
    from floq.evaluation import Evaluation, Evaluator, evaluate
    from floq.losses import ema_update, td_target
    from floq.networks.mlp import NetworkConfig
    from floq.policies.flow import FlowPolicy, FlowPolicyConfig
    from floq.presets.methods import preset
    from floq.recording import record
    from floq.runs.run import Run, load_run
    from floq.runs.settings import Online, Schedule
    from floq.tasks import load_task
    from floq.training.finetune import finetune
    from floq.training.train import resume, train
    from floq.types import Batch, Policy, Statistics

__version__ = "0.1.0"

# Imported on first use, so that `import floq` and worker processes start at once.
_HOMES = {
    "Batch": "floq.types",
    "Dataset": "floq.data.dataset",
    "Evaluation": "floq.evaluation",
    "Evaluator": "floq.evaluation",
    "FloqConfig": "floq.algorithms.floq",
    "FlowCritic": "floq.critics.flow",
    "FlowCriticConfig": "floq.critics.flow",
    "FlowPolicy": "floq.policies.flow",
    "FlowPolicyConfig": "floq.policies.flow",
    "NetworkConfig": "floq.networks.mlp",
    "Online": "floq.runs.settings",
    "Policy": "floq.types",
    "Run": "floq.runs.run",
    "ScalarCritic": "floq.critics.scalar",
    "ScalarCriticConfig": "floq.critics.scalar",
    "Schedule": "floq.runs.settings",
    "Statistics": "floq.types",
    "ema_update": "floq.losses",
    "evaluate": "floq.evaluation",
    "finetune": "floq.training.finetune",
    "load_run": "floq.runs.run",
    "load_task": "floq.tasks",
    "make_env": "floq.envs.make",
    "preset": "floq.presets.methods",
    "record": "floq.recording",
    "resume": "floq.training.train",
    "td_target": "floq.losses",
    "train": "floq.training.train",
}
_RENAMED = {"FloqConfig": "Config"}

__all__ = [
    "Batch",
    "Dataset",
    "Evaluation",
    "Evaluator",
    "FloqConfig",
    "FlowCritic",
    "FlowCriticConfig",
    "FlowPolicy",
    "FlowPolicyConfig",
    "NetworkConfig",
    "Online",
    "Policy",
    "Run",
    "ScalarCritic",
    "ScalarCriticConfig",
    "Schedule",
    "Statistics",
    "ema_update",
    "evaluate",
    "finetune",
    "load_run",
    "load_task",
    "make_env",
    "preset",
    "record",
    "resume",
    "td_target",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'floq' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
