"""Reading recorded updates, and comparing ours with them."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from floq.algorithms.common import State
from floq.networks import MLP
from floq.types import Batch, Statistics

Tree = dict[str, Any]


class Replay(NamedTuple):
    """An update of ours beside the recorded one.

    Attributes:
        expected: Our values and losses, by the names that the file has for them.
        gradients: Our gradients, and the recorded ones in the same structure.
        updated: Our parameters after the step, targets included, and the recorded ones.
    """

    expected: dict[str, Any]
    gradients: tuple[Any, Any]
    updated: tuple[Any, Any]


def read(path: Path) -> tuple[dict[str, Any], Tree]:
    """A golden file's settings, and its arrays as a nested dictionary."""
    arrays: Tree = {}
    with np.load(path, allow_pickle=False) as file:
        config = json.loads(bytes(file["config.json"]))
        for name in file.files:
            *folders, leaf = name.split("/")
            node = arrays
            for folder in folders:
                node = node.setdefault(folder, {})
            node[leaf] = file[name]
    return config, arrays


def flatten(tree: Tree, prefix: str = "") -> Tree:
    """A nested dictionary as one with keys such as "actor/q"."""
    flat: Tree = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat


def batch_of(arrays: Tree) -> Batch:
    """The recorded transitions."""
    batch = arrays["batch"]
    return Batch(**{name: jax.device_put(batch[name]) for name in Batch._fields if name in batch})


def statistics_of(arrays: Tree, reward_min: float = 0.0, reward_max: float = 1.0) -> Statistics:
    """The shapes of the recorded transitions, with a range of rewards."""
    batch = arrays["batch"]
    return Statistics(
        batch["observations"].shape[-1], batch["actions"].shape[-1], reward_min, reward_max
    )


def layers_of(tree: Tree) -> tuple[list[Tree], list[Tree]]:
    """The dense layers and layer norms of a recorded network, in order of use."""
    order = [
        "initial_block",
        *(f"hidden_blocks_{index}" for index in range(len(tree))),
        "final_block",
    ]
    blocks = [tree[name] for name in order if name in tree] or [tree]
    ordered = {}
    for kind in ("Dense", "LayerNorm"):
        ordered[kind] = [
            block[f"{kind}_{index}"]
            for block in blocks
            for index in range(len(block))
            if f"{kind}_{index}" in block
        ]
    return ordered["Dense"], ordered["LayerNorm"]


def _norm(mlp: MLP, index: int) -> tuple[jax.Array, jax.Array]:
    return mlp.norms[index].scale, mlp.norms[index].bias


def load_network(template: MLP, tree: Tree) -> MLP:
    """The template with a recorded network's arrays; an ensemble of one may lack its axis."""
    (network,) = tree.values()
    dense, norms = layers_of(network)
    recorded = [
        *((layer["kernel"], layer["bias"]) for layer in dense),
        *((norm["scale"], norm["bias"]) for norm in norms),
    ]

    def places(mlp: MLP) -> list[jax.Array]:
        dense_places = [mlp.first, *mlp.layers, mlp.head]
        return [
            *(array for layer in dense_places for array in (layer.kernel, layer.bias)),
            *(array for index in range(len(norms)) for array in _norm(mlp, index)),
        ]

    flat = [array for pair in recorded for array in pair]
    wanted = places(template)
    if len(flat) != len(wanted):
        raise ValueError(f"The file has {len(flat)} arrays where the network has {len(wanted)}.")
    arrays = [np.reshape(new, old.shape) for new, old in zip(flat, wanted, strict=True)]
    return eqx.tree_at(places, template, arrays)


def relative_error(ours: Any, recorded: np.ndarray) -> float:
    """The largest difference, over the largest recorded magnitude (or rounding, if all are 0)."""
    difference = np.max(np.abs(np.reshape(np.asarray(ours), recorded.shape) - recorded))
    return float(difference / max(np.max(np.abs(recorded)), np.finfo(np.float32).eps))


def tree_error(ours: Any, recorded: Any) -> float:
    """The largest relative error over the arrays of two equal trees."""
    errors = jax.tree.map(relative_error, ours, jax.tree.map(np.asarray, recorded))
    return max(jax.tree.leaves(errors))


def blank_state(algorithm: Any, config: Any, statistics: Statistics) -> State:
    """A state before the first update, but with zeros for the parameters that a file holds."""
    shapes = jax.eval_shape(lambda: algorithm.init(config, statistics, key=jax.random.key(0)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def compare(
    algorithm: Any,
    config: Any,
    state: State,
    draws: Any,
    load: Callable[[State, Tree], State],
    arrays: Tree,
    expected: Callable[..., dict[str, Any]],
) -> Replay:
    """Runs the update from a blank state, and loads the recorded gradients and parameters."""
    state, batch = load(state, arrays["params"]), batch_of(arrays)
    ours, updated = _replay(algorithm, config, expected, state, batch, draws)
    # The first step's: Adam's moment was 0, and takes in a tenth of the gradients.
    moments = jax.device_get(updated.optimizer[0].mu)
    gradients = jax.tree.map(lambda moment: moment / np.float32(0.1), moments)
    recorded = load(state, arrays["updated"])
    return Replay(
        ours,
        (gradients, load(state, arrays["grads"]).parameters),
        (updated[:2], recorded[:2]),
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _replay(
    algorithm: Any, config: Any, expected: Any, state: State, batch: Batch, draws: Any
) -> tuple[dict[str, Any], State]:
    """In one program, which compiles what the two share once, and for all files of its form."""
    updated, metrics = algorithm.apply_update(config, state, batch, draws)
    return expected(config, state, batch, draws, metrics), updated
