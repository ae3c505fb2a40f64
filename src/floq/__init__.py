"""floq: flow-matching Q-functions in JAX (arXiv 2509.06863)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from floq.algorithms import register_algorithm as register_algorithm
    from floq.algorithms.bc import Config as BCConfig
    from floq.algorithms.floq import Config as FloqConfig
    from floq.algorithms.fql import Config as FQLConfig
    from floq.algorithms.ifql import Config as IFQLConfig
    from floq.algorithms.iql import Config as IQLConfig
    from floq.algorithms.rebrac import Config as ReBRACConfig
    from floq.critics import register_critic as register_critic
    from floq.critics.categorical import CategoricalCritic as CategoricalCritic
    from floq.critics.categorical import CategoricalCriticConfig as CategoricalCriticConfig
    from floq.critics.common import CriticConfig as CriticConfig
    from floq.critics.flow import FlowCritic as FlowCritic
    from floq.critics.flow import FlowCriticConfig as FlowCriticConfig
    from floq.critics.network import NetworkCritic as NetworkCritic
    from floq.critics.network import NetworkCriticConfig as NetworkCriticConfig
    from floq.critics.quantile import QuantileCritic as QuantileCritic
    from floq.critics.quantile import QuantileCriticConfig as QuantileCriticConfig
    from floq.critics.scalar import ScalarCritic as ScalarCritic
    from floq.critics.scalar import ScalarCriticConfig as ScalarCriticConfig
    from floq.data.dataset import Dataset as Dataset
    from floq.data.files import DatasetFile as DatasetFile
    from floq.data.formats import register_format as register_format
    from floq.data.goals import Goals as Goals
    from floq.data.reading import Reading as Reading
    from floq.data.streamed import StreamedDataset as StreamedDataset
    from floq.envs.make import make_env as make_env
    from floq.evaluation import Evaluation as Evaluation
    from floq.evaluation import Evaluator as Evaluator
    from floq.evaluation import evaluate as evaluate
    from floq.export.floq_policy import load_policy as load_policy
    from floq.inspecting import inspect as inspect
    from floq.interrupted import Interrupted as Interrupted
    from floq.loggers import Logger as Logger
    from floq.losses import ema_update as ema_update
    from floq.losses import td_target as td_target
    from floq.networks.mlp import MLP as MLP
    from floq.networks.mlp import NetworkConfig as NetworkConfig
    from floq.observations import EncoderConfig as EncoderConfig
    from floq.policies.deterministic import DeterministicPolicy as DeterministicPolicy
    from floq.policies.deterministic import DeterministicPolicyConfig as DeterministicPolicyConfig
    from floq.policies.flow import FlowPolicy as FlowPolicy
    from floq.policies.flow import FlowPolicyConfig as FlowPolicyConfig
    from floq.policies.gaussian import GaussianPolicy as GaussianPolicy
    from floq.policies.gaussian import GaussianPolicyConfig as GaussianPolicyConfig
    from floq.presets.changes import small as small
    from floq.presets.methods import preset as preset
    from floq.presets.methods import register_preset as register_preset
    from floq.recording import Recording as Recording
    from floq.recording import record as record
    from floq.reports.report import report as report
    from floq.runs.actor import Actor as Actor
    from floq.runs.run import Run as Run
    from floq.runs.run import load_run as load_run
    from floq.runs.settings import Online as Online
    from floq.runs.settings import Schedule as Schedule
    from floq.tasks import load_task as load_task
    from floq.tasks import task_names as task_names
    from floq.training.callbacks import Callback as Callback
    from floq.training.callbacks import Event as Event
    from floq.training.finetune import finetune as finetune
    from floq.training.loop import Diverged as Diverged
    from floq.training.sources import DataFile as DataFile
    from floq.training.train import resume as resume
    from floq.training.train import train as train
    from floq.types import Algorithm as Algorithm
    from floq.types import Batch as Batch
    from floq.types import Critic as Critic
    from floq.types import Metrics as Metrics
    from floq.types import Policy as Policy
    from floq.types import Statistics as Statistics

__version__ = "0.1.0"

# Imported on first use, so that `import floq` and worker processes start at once.
_NAMES = {
    "floq.algorithms": ("register_algorithm",),
    "floq.algorithms.bc": ("BCConfig",),
    "floq.algorithms.floq": ("FloqConfig",),
    "floq.algorithms.fql": ("FQLConfig",),
    "floq.algorithms.ifql": ("IFQLConfig",),
    "floq.algorithms.iql": ("IQLConfig",),
    "floq.algorithms.rebrac": ("ReBRACConfig",),
    "floq.critics": ("register_critic",),
    "floq.critics.categorical": ("CategoricalCritic", "CategoricalCriticConfig"),
    "floq.critics.common": ("CriticConfig",),
    "floq.critics.flow": ("FlowCritic", "FlowCriticConfig"),
    "floq.critics.network": ("NetworkCritic", "NetworkCriticConfig"),
    "floq.critics.quantile": ("QuantileCritic", "QuantileCriticConfig"),
    "floq.critics.scalar": ("ScalarCritic", "ScalarCriticConfig"),
    "floq.data.dataset": ("Dataset",),
    "floq.data.files": ("DatasetFile",),
    "floq.data.formats": ("register_format",),
    "floq.data.goals": ("Goals",),
    "floq.data.reading": ("Reading",),
    "floq.data.streamed": ("StreamedDataset",),
    "floq.envs.make": ("make_env",),
    "floq.evaluation": ("Evaluation", "Evaluator", "evaluate"),
    "floq.export.floq_policy": ("load_policy",),
    "floq.inspecting": ("inspect",),
    "floq.interrupted": ("Interrupted",),
    "floq.loggers": ("Logger",),
    "floq.losses": ("ema_update", "td_target"),
    "floq.networks.mlp": ("MLP", "NetworkConfig"),
    "floq.observations": ("EncoderConfig",),
    "floq.policies.deterministic": ("DeterministicPolicy", "DeterministicPolicyConfig"),
    "floq.policies.flow": ("FlowPolicy", "FlowPolicyConfig"),
    "floq.policies.gaussian": ("GaussianPolicy", "GaussianPolicyConfig"),
    "floq.presets.changes": ("small",),
    "floq.presets.methods": ("preset", "register_preset"),
    "floq.recording": ("Recording", "record"),
    "floq.reports.report": ("report",),
    "floq.runs.actor": ("Actor",),
    "floq.runs.run": ("Run", "load_run"),
    "floq.runs.settings": ("Online", "Schedule"),
    "floq.tasks": ("load_task", "task_names"),
    "floq.training.callbacks": ("Callback", "Event"),
    "floq.training.finetune": ("finetune",),
    "floq.training.loop": ("Diverged",),
    "floq.training.sources": ("DataFile",),
    "floq.training.train": ("resume", "train"),
    "floq.types": ("Algorithm", "Batch", "Critic", "Metrics", "Policy", "Statistics"),
}
"""The public names of each module."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
_CONFIGS = {"BCConfig", "FQLConfig", "FloqConfig", "IFQLConfig", "IQLConfig", "ReBRACConfig"}
"""Each is called Config in the module of its algorithm."""

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'floq' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    return getattr(module, "Config" if name in _CONFIGS else name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
