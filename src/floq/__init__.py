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
_HOMES = {
    "Actor": "floq.runs.actor",
    "Algorithm": "floq.types",
    "BCConfig": "floq.algorithms.bc",
    "Batch": "floq.types",
    "Callback": "floq.training.callbacks",
    "CategoricalCritic": "floq.critics.categorical",
    "CategoricalCriticConfig": "floq.critics.categorical",
    "Critic": "floq.types",
    "CriticConfig": "floq.critics.common",
    "DataFile": "floq.training.sources",
    "Dataset": "floq.data.dataset",
    "DatasetFile": "floq.data.files",
    "DeterministicPolicy": "floq.policies.deterministic",
    "DeterministicPolicyConfig": "floq.policies.deterministic",
    "Diverged": "floq.training.loop",
    "EncoderConfig": "floq.observations",
    "Evaluation": "floq.evaluation",
    "Evaluator": "floq.evaluation",
    "Event": "floq.training.callbacks",
    "FQLConfig": "floq.algorithms.fql",
    "FloqConfig": "floq.algorithms.floq",
    "FlowCritic": "floq.critics.flow",
    "FlowCriticConfig": "floq.critics.flow",
    "FlowPolicy": "floq.policies.flow",
    "FlowPolicyConfig": "floq.policies.flow",
    "GaussianPolicy": "floq.policies.gaussian",
    "GaussianPolicyConfig": "floq.policies.gaussian",
    "Goals": "floq.data.goals",
    "IFQLConfig": "floq.algorithms.ifql",
    "IQLConfig": "floq.algorithms.iql",
    "Interrupted": "floq.interrupted",
    "Logger": "floq.loggers",
    "MLP": "floq.networks.mlp",
    "Metrics": "floq.types",
    "NetworkConfig": "floq.networks.mlp",
    "NetworkCritic": "floq.critics.network",
    "NetworkCriticConfig": "floq.critics.network",
    "Online": "floq.runs.settings",
    "Policy": "floq.types",
    "QuantileCritic": "floq.critics.quantile",
    "QuantileCriticConfig": "floq.critics.quantile",
    "ReBRACConfig": "floq.algorithms.rebrac",
    "Reading": "floq.data.reading",
    "Recording": "floq.recording",
    "Run": "floq.runs.run",
    "ScalarCritic": "floq.critics.scalar",
    "ScalarCriticConfig": "floq.critics.scalar",
    "Schedule": "floq.runs.settings",
    "Statistics": "floq.types",
    "StreamedDataset": "floq.data.streamed",
    "ema_update": "floq.losses",
    "evaluate": "floq.evaluation",
    "finetune": "floq.training.finetune",
    "inspect": "floq.inspecting",
    "load_policy": "floq.export.floq_policy",
    "load_run": "floq.runs.run",
    "load_task": "floq.tasks",
    "make_env": "floq.envs.make",
    "preset": "floq.presets.methods",
    "record": "floq.recording",
    "register_algorithm": "floq.algorithms",
    "register_critic": "floq.critics",
    "register_format": "floq.data.formats",
    "register_preset": "floq.presets.methods",
    "report": "floq.reports.report",
    "resume": "floq.training.train",
    "task_names": "floq.tasks",
    "small": "floq.presets.changes",
    "td_target": "floq.losses",
    "train": "floq.training.train",
}
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
