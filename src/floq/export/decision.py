"""A trained policy as a function of observations and noise, with what it reads alone."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from floq.algorithms.common import best_of_noise, candidate_noise
from floq.critics.flow import FlowCritic
from floq.critics.network import NetworkCritic
from floq.critics.quantile import QuantileCritic
from floq.networks import Encoder, encode
from floq.networks.mlp import Dense
from floq.networks.modules import named_leaves, replaced, with_static
from floq.observations import Normalization
from floq.policies.deterministic import DeterministicPolicy
from floq.policies.flow import BehaviourFlow, FlowPolicy
from floq.policies.gaussian import GaussianPolicy


class Decision(NamedTuple):
    """How a policy decides.

    Attributes:
        kind: "one step", "behaviour flow", "best of candidates" or "mean".
        modules: The networks that it reads, by name.
        noise: The random numbers of an observation: for each array its name, shape and
            distribution, as `policy.json` has them.
        actions: Actions in [−1, 1] of (modules, observations, *noise). Observations are one array,
            or several, as the policy exported reads them.
        draw: The noise that the policy in training draws from keys.
    """

    kind: str
    modules: dict[str, Any]
    noise: tuple[dict[str, Any], ...]
    actions: Callable[..., Float[Array, "batch act"]]
    draw: Callable[[Key[Array, " batch"]], tuple[Any, ...]]


def decision_of(config: Any, parameters: Any) -> Decision | None:
    """How an algorithm decides that acts by one of the library's policies; None if it has none.

    Args:
        config: The algorithm's settings, of which `candidates` is read.
        parameters: One seed's parameters, whose `policy` or `behaviour` acts.
    """
    policy = getattr(parameters, "policy", getattr(parameters, "behaviour", None))
    candidates = getattr(config, "candidates", 0)
    match policy:
        case FlowPolicy() | BehaviourFlow() if candidates:
            behaviour = policy.behaviour if isinstance(policy, FlowPolicy) else policy
            # Where the critic reads more actions than are planned, the distilled one chooses.
            is_decoupled = getattr(config, "is_decoupled", False)
            judge = parameters.distilled if is_decoupled else parameters.critic
            return _best_of(judge, behaviour, candidates)
        case FlowPolicy():
            return Decision(
                "one step",
                {"policy": policy.one_step, "encoder": policy.encoder},
                (_normal(policy.action_dim),),
                _one_step,
                lambda keys: (policy.behaviour.action_noise(keys),),
            )
        case BehaviourFlow():
            return Decision(
                "behaviour flow",
                {"policy": policy},
                (_normal(policy.action_dim),),
                lambda modules, observations, noise: modules["policy"].actions(observations, noise),
                lambda keys: (policy.action_noise(keys),),
            )
        case DeterministicPolicy():
            modules, actions = {"policy": policy}, type(policy).actions
        case GaussianPolicy():
            # Its deviations are of the loss alone.
            modules = {"policy": policy.network}
            actions = lambda network, observations: jnp.clip(network(observations), -1, 1)
        case _:
            return None
    return Decision(
        "mean",
        modules,
        (),
        lambda modules, observations: actions(modules["policy"], observations),
        lambda keys: (),
    )


def normalizing(decision: Decision, normalization: Normalization) -> Decision:
    """The decision of an algorithm that was trained on normalised observations, of raw ones."""
    own = {name: jnp.array(one, np.float32) for name, one in normalization._asdict().items()}

    def actions(modules: Any, observations: Any, *noise: Any) -> Any:
        seen = modules["observations"]
        normal = (observations - seen["mean"]) / seen["deviation"]
        return decision.actions(modules, normal, *noise)

    return decision._replace(modules={**decision.modules, "observations": own}, actions=actions)


def reading_arrays(decision: Decision) -> Decision:
    """The decision of an algorithm that reads rows of bytes, of the arrays that these hold.

    Each network's encoder reads them once; in its place, the network takes its own of all features.
    """

    def actions(modules: Any, *inputs: Any) -> Any:
        count = len(inputs) - len(decision.noise)
        features: list[Any] = []

        def read(encoder: Encoder) -> Any:
            first = sum(one.shape[-1] for one in features)
            features.append(encoder.features(inputs[:count]))
            return operator.itemgetter((..., slice(first, first + encoder.size)))

        bare = replaced(modules, Encoder, read)
        observations = jnp.concatenate(features, axis=-1)
        return decision.actions(bare, observations, *inputs[count:])

    return decision._replace(actions=actions)


def _one_step(modules: Any, observations: Any, noise: Any) -> Any:
    states = encode(modules["encoder"], observations)
    return jnp.clip(modules["policy"](jnp.concatenate([states, noise], axis=-1)), -1, 1)


def _best_of(critic: Any, behaviour: BehaviourFlow, candidates: int) -> Decision | None:
    """The best of a behaviour flow's actions, by a critic of the library."""
    size, noise = critic.noise_samples, _normal(candidates, behaviour.action_dim)
    distribution = "uniform"
    match critic:
        case FlowCritic():
            low, high = critic.noise_interval
            if critic.config.sampling == "strata":
                distribution = "strata"
        case QuantileCritic():
            low, high = 0.0, 1.0
        case NetworkCritic() if type(critic).sample_noise is NetworkCritic.sample_noise:
            low = high = 0.0  # Nothing reads it.
        case _:
            return None
    is_read = low != high
    value_noise = {"name": "value_noise", "shape": [size], "distribution": distribution}

    def actions(modules: Any, observations: Any, noise: Any, *of_values: Any) -> Any:
        # The batch may be a symbol, which has no len().
        starts = of_values[0] if is_read else jnp.zeros((observations.shape[0], size))
        return best_of_noise(modules["critic"], modules["policy"], observations, noise, starts)

    return Decision(
        "best of candidates",
        {"policy": behaviour, "critic": critic},
        (noise, {**value_noise, "low": low, "high": high}) if is_read else (noise,),
        actions,
        lambda keys: candidate_noise(critic, behaviour, candidates, keys)[: 1 + is_read],
    )


def _normal(*shape: int) -> dict[str, Any]:
    return {"name": "noise", "shape": list(shape), "distribution": "normal"}


def in_float32(modules: Any) -> Any:
    """The modules with every product in float32, whatever it was trained in.

    Programs that round factors to bfloat16 differ by a last bit here and there, which grows.
    """
    return replaced(modules, Dense, lambda layer: with_static(layer, precision="float32"))


def program_of(decision: Decision) -> Callable[..., Float[Array, "batch act"]]:
    """Actions of (named weights, *observations, *noise)."""
    names, structure = list(named_leaves(decision.modules)), jax.tree.structure(decision.modules)

    def program(weights: dict[str, Any], *inputs: Any) -> Any:
        modules = structure.unflatten([weights[name] for name in names])
        return decision.actions(modules, *inputs)

    return program
