"""Checks floq against recorded updates: `python tests/golden.py FILE...`.

Each file holds one update of a small agent of the published runs with every random draw written
out: config, batch, parameters, draws, and what came out. Prints the largest relative error of
each group, and exits with 1 if one is beyond its tolerance.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floq.algorithms import floq
from floq.critics import FlowCriticConfig, ScalarCriticConfig
from floq.critics.flow import FlowCriticDraws
from floq.flow_matching import interpolate
from floq.losses import td_target
from floq.networks import MLP, NetworkConfig, ValueSupport
from floq.policies import FlowPolicyConfig, FlowPolicyDraws
from floq.types import Batch, Statistics

TOLERANCES = {"expected": 1e-5, "grads": 1e-4, "updated": 1e-4}

# The loss terms of the files, by the names that our metrics have.
METRICS = {
    "actor/bc_flow_loss": "policy/bc_flow_loss",
    "actor/distill_loss": "policy/distillation_loss",
    "actor/q": "policy/value",
    "actor/q_loss": "policy/value_loss",
    "critic/floq_loss": "critic/flow_loss",
    "critic/distilled_critic_loss": "critic/distilled_loss",
    "critic/td_error": "critic/td_error",
    "critic/var_flow_returns": "critic/sample_variance",
}

Tree = dict[str, Any]


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


def config_of(settings: Mapping[str, Any], velocity_inputs: int) -> floq.Config:
    """Our config for a file's settings; the time embedding shows in the network's input size."""
    if not settings.get("activate_before_layernorm", True) or settings.get("encoder"):
        raise ValueError("Only state observations with layer norms after activations are known.")
    histogram = settings["use_prob_embed"]
    time_size = (
        velocity_inputs
        - int(np.prod(settings["ob_dims"]))
        - settings["action_dim"]
        - (settings["num_bins"] - 1 if histogram else 1)
    )
    aggregation = settings["q_agg"]
    return floq.Config(
        critic=FlowCriticConfig(
            integration_steps=settings["critic_flow_steps"],
            noise_samples=settings["noise_samples"],
            noise_coverage=settings["noise_coverage"],
            members=settings["flow_num_ensembles"],
            aggregation=aggregation,
            network=NetworkConfig(
                hidden_sizes=(settings["block_width"],) * settings["block_depth"],
                residual_blocks=settings["num_transformations"] * settings["use_resnets"],
                layer_norm=settings["layer_norm"],
            ),
            value_embedding="histogram" if histogram else "scalar",
            histogram_points=settings["num_bins"],
            histogram_sigma=settings["sigma"],
            time_embedding=(
                "identity"
                if not settings["embed_time"]
                else "cosine"
                if time_size == 1
                else "fourier"
            ),
            fourier_frequencies=time_size,
            supervision="start" if settings["train_at_zero_only"] else "path",
        ),
        distilled=ScalarCriticConfig(
            members=settings["distill_num_ensembles"],
            network=NetworkConfig(
                tuple(settings["value_hidden_dims"]), layer_norm=settings["layer_norm"]
            ),
        ),
        policy=FlowPolicyConfig(
            flow_steps=settings["actor_flow_steps"],
            network=NetworkConfig(
                tuple(settings["actor_hidden_dims"]), layer_norm=settings["actor_layer_norm"]
            ),
        ),
        discount=settings["discount"],
        batch_size=settings["batch_size"],
        learning_rate=settings["lr"],
        target_rate=settings["tau"],
        bc_coefficient=settings["alpha"],
        normalize_q=settings["normalize_q_loss"],
    )


def _layers(tree: Tree) -> tuple[list[Tree], list[Tree]]:
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
    dense, norms = _layers(network)
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
    arrays = [jnp.reshape(new, old.shape) for new, old in zip(flat, wanted, strict=True)]
    return eqx.tree_at(places, template, arrays)


def load_parameters(template: floq.Parameters, networks: Tree) -> floq.Parameters:
    """The template's parameters with the arrays of a file."""
    return eqx.tree_at(
        lambda p: (
            p.critic.members.network,
            p.distilled.members,
            p.policy.behaviour,
            p.policy.one_step,
        ),
        template,
        (
            load_network(template.critic.members.network, networks["velocity"]),
            load_network(template.distilled.members, networks["distilled_critic"]),
            load_network(template.policy.behaviour, networks["bc_flow"]),
            load_network(template.policy.one_step, networks["onestep_actor"]),
        ),
    )


def draws_of(draws: Tree) -> floq.Draws:
    """The recorded random numbers, under our names."""
    arrays = jax.tree.map(jnp.asarray, draws)
    return floq.Draws(
        arrays["next_action_noise"],
        arrays["next_initial_noise"],
        FlowCriticDraws(arrays["initial_noise"], arrays["time"]),
        FlowPolicyDraws(arrays["bc_noise"], arrays["bc_time"], arrays["onestep_noise"]),
    )


def relative_error(ours: Any, recorded: np.ndarray) -> float:
    """The largest difference, over the largest recorded magnitude (or rounding, if all are 0)."""
    difference = np.max(np.abs(np.reshape(ours, recorded.shape) - recorded))
    return float(difference / max(np.max(np.abs(recorded)), np.finfo(np.float32).eps))


def tree_error(ours: Any, recorded: Any) -> float:
    """The largest relative error over the arrays of two equal trees."""
    errors = jax.tree.map(relative_error, ours, jax.tree.map(np.asarray, recorded))
    return max(jax.tree.leaves(errors))


def expected_values(
    config: floq.Config, state: floq.State, batch: Batch, draws: floq.Draws
) -> dict[str, Any]:
    """The steps of the update that the files record, each from the part that computes it."""
    critic, policy = state.parameters.critic, state.parameters.policy
    next_observations = batch.next_observations
    samples = draws.next_action_noise.shape[1]
    next_actions = policy.actions(
        jnp.repeat(next_observations[:, None], samples, axis=1), draws.next_action_noise
    )
    target = state.target_critic
    next_samples = target.return_samples(next_observations, next_actions, draws.next_initial_noise)
    next_values = target.values(next_observations, next_actions, draws.next_initial_noise)
    targets = td_target(batch.rewards, batch.masks, next_values, config.discount)
    observations, actions = batch.observations, batch.actions
    noise, time = draws.critic
    points = interpolate(noise, jnp.broadcast_to(targets[:, None], noise.shape), time)
    total, metrics = floq.loss(config, state.parameters, target, batch, draws)
    critic_loss, _ = floq.critic_loss(config, state.parameters, target, batch, draws)
    policy_loss, _ = floq.policy_loss(config, state.parameters, batch, draws.policy)
    return {
        "next_actions": next_actions,
        "next_values": target.aggregate(next_samples),
        "td_target": targets,
        "flow_values": critic.return_samples(observations, actions, noise),
        "interpolant": points,
        "velocity": critic.velocities(observations, actions, points, time),
        "total_loss": total,
        "critic/q": jnp.mean(state.parameters.distilled.values(batch.observations, batch.actions)),
        "critic/critic_loss": critic_loss,
        "actor/actor_loss": policy_loss,
        **{theirs: metrics[ours] for theirs, ours in METRICS.items()},
    }


def errors_of(path: Path) -> dict[str, float]:
    """The largest relative error of each group of a golden file."""
    settings, arrays = read(path)
    if settings["agent_name"] != "floq":
        raise ValueError(f"{path}: no algorithm here is called {settings['agent_name']!r}.")
    networks = arrays["params"]
    first = _layers(networks["velocity"]["mlp"])[0][0]
    config = config_of(settings, first["kernel"].shape[-2])
    statistics = Statistics(
        arrays["batch"]["observations"].shape[-1],
        settings["action_dim"],
        settings["r_min"],
        settings["r_max"],
    )
    state = floq.init(config, statistics, key=jax.random.key(0))
    critic = state.parameters.critic
    support = ValueSupport(settings["bin_low"], settings["bin_high"])
    interval = (settings["noise_low"], settings["noise_high"])
    np.testing.assert_allclose(critic.members.support, support, rtol=1e-6)
    np.testing.assert_allclose(critic.noise_interval, interval, rtol=1e-6)

    state = state._replace(
        parameters=load_parameters(state.parameters, networks),
        target_critic=eqx.tree_at(
            lambda target: target.members.network,
            critic,
            load_network(critic.members.network, networks["target_velocity"]),
        ),
    )
    batch = Batch(*(jnp.asarray(arrays["batch"][name]) for name in Batch._fields))
    draws = draws_of(arrays["draws"])

    ours = jax.jit(expected_values, static_argnums=0)(config, state, batch, draws)
    recorded = dict(arrays["expected"])
    for group in ("actor", "critic"):
        recorded |= {f"{group}/{name}": value for name, value in recorded.pop(group).items()}
    del recorded["actor/mse"]  # It uses a draw of its own.

    gradient = jax.jit(jax.grad(floq.loss, argnums=1, has_aux=True), static_argnums=0)
    gradients, _ = gradient(config, state.parameters, state.target_critic, batch, draws)
    updated, _ = jax.jit(floq.apply_update, static_argnums=0)(config, state, batch, draws)
    updated_target = load_network(critic.members.network, arrays["updated"]["target_velocity"])
    return {
        "expected": max(relative_error(ours[name], value) for name, value in recorded.items()),
        "grads": tree_error(gradients, load_parameters(state.parameters, arrays["grads"])),
        "updated": max(
            tree_error(updated.parameters, load_parameters(state.parameters, arrays["updated"])),
            tree_error(updated.target_critic.members.network, updated_target),
        ),
    }


def main(paths: list[str]) -> int:
    """Prints a line a file; 1 if an error is beyond its tolerance, 2 without a file."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    passed = True
    for path in paths:
        errors = errors_of(Path(path))
        good = all(errors[group] <= TOLERANCES[group] for group in TOLERANCES)
        passed &= good
        figures = "  ".join(f"{group} {error:.1e}" for group, error in errors.items())
        print(f"{'ok  ' if good else 'FAIL'}  {path}  {figures}")
    return 0 if passed else 1


if __name__ == "__main__":
    with jax.default_matmul_precision("highest"):
        sys.exit(main(sys.argv[1:]))
