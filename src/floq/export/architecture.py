"""What a policy's networks are, as `floq_network.py` reads them in `policy.json`."""

from typing import Any

from floq.critics.categorical import CategoricalCritic
from floq.critics.flow import FlowCritic
from floq.critics.quantile import QuantileCritic
from floq.critics.scalar import ScalarCritic
from floq.export.decision import Decision
from floq.networks import MLP, Encoder
from floq.networks.modules import holds


def architecture(decision: Decision) -> dict[str, Any]:
    """The networks of a decision, JSON-able.

    Raises:
        ValueError: If its critic is none that numpy's program knows, its policy a diffusion, or if
            it reads more than a vector.
    """
    if holds(decision.modules, Encoder):
        raise ValueError(
            "numpy's program reads a vector, no image and no dictionary: export it with --format "
            "jax or onnx."
        )
    policy = decision.modules["policy"]
    found: dict[str, Any] = {"kind": decision.kind, "policy": _policy(policy)}
    if "critic" in decision.modules:
        found["critic"] = _critic(decision.modules["critic"])
    return found


def _policy(policy: Any) -> dict[str, Any]:
    if isinstance(policy, MLP):
        return {"name": "policy", "squash": False, **_mlp(policy)}
    if getattr(policy.config, "path", "straight") != "straight":
        raise ValueError("numpy's program knows no diffusion: export it with --format jax or onnx.")
    own = {"flow_steps": getattr(policy.config, "flow_steps", 0)}
    own |= {"squash": getattr(policy.config, "squash", False)}
    return {"name": "policy.network", **own, **_mlp(policy.network)}


def _mlp(network: MLP) -> dict[str, Any]:
    return {"layers": 1 + len(network.layers), "block_size": network.block_size}


def _critic(critic: Any) -> dict[str, Any]:
    config = critic.config
    shared = {"members": config.members, "aggregation": config.aggregation}
    shared |= {"pessimism": config.pessimism}
    match critic:
        case FlowCritic():
            low, high = critic.members.support
            return shared | {
                "kind": "flow",
                "low": low,
                "high": high,
                "points": config.histogram_points,
                "sigma": config.histogram_sigma,
                "value_embedding": config.value_embedding,
                "time_embedding": config.time_embedding,
                "frequencies": config.fourier_frequencies,
                "endpoint": config.prediction == "endpoint",
                "method": config.method,
                "steps": config.integration_steps,
                **_mlp(critic.members.network),
            }
        case QuantileCritic():
            return shared | {
                "kind": "quantile",
                "time_embedding": config.level_embedding,
                "frequencies": config.frequencies,
                **_mlp(critic.members),
            }
        case CategoricalCritic():
            low, high = critic.support
            points = config.histogram_points
            own = {"kind": "categorical", "low": low, "high": high, "points": points}
            return shared | own | _mlp(critic.members)
        case ScalarCritic():
            return shared | {"kind": "scalar"} | _mlp(critic.members)
    raise ValueError(
        f"numpy's program knows no {type(critic).__name__}: export it with --format jax or onnx."
    )
