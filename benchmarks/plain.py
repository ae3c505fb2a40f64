"""The yardstick: floq's update in its plainest form, one call an update.

Ensembles are vmapped, every layer reads its whole input at every step, and the steps of a flow are
written out. It knows the published form alone: dense networks, Euler steps, histogram and cosine
embeddings, the expected backup. Its arrays are those of the library's own state.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from floq.algorithms import floq
from floq.algorithms.common import State
from floq.critics.flow import FlowCriticConfig, VelocityField
from floq.networks import MLP
from floq.policies.flow import BehaviourFlow
from floq.types import Batch


def network(mlp: MLP, inputs: Float[Array, "*shape inputs"]) -> Float[Array, "*shape outputs"]:
    """A dense network: GELU, then a layer norm if it has any."""
    hidden = inputs
    for index, layer in enumerate((mlp.first, *mlp.layers)):
        hidden = jax.nn.gelu(hidden @ layer.kernel + layer.bias)
        if mlp.norms:
            norm = mlp.norms[index]
            mean = hidden.mean(axis=-1, keepdims=True)
            variance = hidden.var(axis=-1, keepdims=True)
            hidden = (hidden - mean) / jnp.sqrt(variance + 1e-6) * norm.scale + norm.bias
    return hidden @ mlp.head.kernel + mlp.head.bias


def velocity(
    field: VelocityField,
    pairs: Float[Array, "batch samples pair"],
    value: Float[Array, "batch samples"],
    time: Float[Array, "batch samples"],
) -> Float[Array, "batch samples"]:
    """v(t, z | s, a), where `pairs` holds (s, a) for every sample."""
    config = field.config
    low, high = field.support
    edges = np.linspace(low, high, config.histogram_points).astype(np.float32)
    deviation = np.float32(config.histogram_sigma) * (edges[1] - edges[0])
    cumulative = jax.scipy.special.erf(
        (edges - value[..., None]) / (np.float32(np.sqrt(2)) * deviation)
    )
    total = cumulative[..., -1:] - cumulative[..., :1]
    histogram = jnp.diff(cumulative, axis=-1) / total
    inputs = jnp.concatenate([pairs, histogram, jnp.cos(time)[..., None]], axis=-1)
    return network(field.network, inputs)[..., 0]


def flow(
    members: VelocityField,
    pairs: Float[Array, "batch samples pair"],
    noise: Float[Array, "batch samples"],
    config: FlowCriticConfig,
) -> Float[Array, "ensemble batch samples"]:
    """The ends of every member's flow from `noise`."""
    steps = config.integration_steps

    def carry(field: VelocityField) -> Float[Array, "batch samples"]:
        value = noise
        for step in range(steps):
            time = jnp.full(value.shape, step / steps)
            value = value + velocity(field, pairs, value, time) / steps
        return value

    return jax.vmap(carry)(members)


def behaviour_actions(
    behaviour: BehaviourFlow,
    observations: Float[Array, "batch obs"],
    noise: Float[Array, "batch act"],
) -> Float[Array, "batch act"]:
    """The clipped ends of the behaviour flow."""
    actions, steps = noise, behaviour.config.flow_steps
    for step in range(steps):
        time = jnp.full((len(noise), 1), step / steps)
        inputs = jnp.concatenate([observations, actions, time], axis=-1)
        actions = actions + network(behaviour.network, inputs) / steps
    return jnp.clip(actions, -1, 1)


def critic_loss(
    config: floq.Config, parameters: Any, targets: Any, batch: Batch, draws: floq.Draws
) -> Float[Array, ""]:
    """Flow matching against expected TD targets, and the distilled critic's regression."""
    noise, time, next_noise = draws.critic
    samples = noise.shape[1]
    next_states = jnp.repeat(batch.next_observations[:, None], samples, axis=1)
    policy_inputs = jnp.concatenate([next_states, draws.next_action_noise], axis=-1)
    next_actions = jnp.clip(network(parameters.policy.one_step, policy_inputs), -1, 1)
    next_pairs = jnp.concatenate([next_states, next_actions], axis=-1)
    ends = flow(targets.members, next_pairs, next_noise, config.critic)
    ends = ends.min(axis=0) if config.critic.aggregation == "min" else ends.mean(axis=0)
    backup = batch.rewards + config.discount * batch.masks * ends.mean(axis=-1)
    backup = jax.lax.stop_gradient(backup)[:, None]

    pair = jnp.concatenate([batch.observations, batch.actions], axis=-1)
    pairs = jnp.repeat(pair[:, None], samples, axis=1)
    points = (1 - time) * noise + time * backup
    members = parameters.critic.members
    predicted = jax.vmap(velocity, (0, None, None, None))(members, pairs, points, time)
    flow_loss = jnp.mean(jnp.sum((predicted - (backup - noise)) ** 2, axis=-1))

    values = flow(jax.lax.stop_gradient(members), pairs, noise, config.critic).mean(axis=(0, 2))
    distilled = jax.vmap(network, (0, None))(parameters.distilled.members, pair)[..., 0]
    return flow_loss + jnp.mean((distilled - values) ** 2)


def policy_loss(
    config: floq.Config, parameters: Any, batch: Batch, draws: floq.Draws
) -> Float[Array, ""]:
    """Behaviour cloning by a flow, and the one-step student that climbs the distilled critic."""
    behaviour, observations = parameters.policy.behaviour, batch.observations
    noise, time = draws.policy.behaviour.noise, draws.policy.behaviour.time[:, None]
    points = (1 - time) * noise + time * batch.actions
    inputs = jnp.concatenate([observations, points, time], axis=-1)
    predicted = network(behaviour.network, inputs)
    cloning = jnp.mean((predicted - (batch.actions - noise)) ** 2)

    start = draws.policy.one_step_noise
    taught = behaviour_actions(jax.lax.stop_gradient(behaviour), observations, start)
    inputs = jnp.concatenate([observations, start], axis=-1)
    student = network(parameters.policy.one_step, inputs)
    distance = jnp.mean((student - taught) ** 2)

    pair = jnp.concatenate([observations, jnp.clip(student, -1, 1)], axis=-1)
    distilled = jax.lax.stop_gradient(parameters.distilled.members)
    values = jax.vmap(network, (0, None))(distilled, pair)[..., 0].mean(axis=0)
    return cloning + config.bc_coefficient * distance - jnp.mean(values)


def loss(
    config: floq.Config, parameters: Any, targets: Any, batch: Batch, draws: floq.Draws
) -> Float[Array, ""]:
    """The whole loss of an update."""
    critic_term = critic_loss(config, parameters, targets, batch, draws)
    return critic_term + policy_loss(config, parameters, batch, draws)


def update(
    config: floq.Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Float[Array, ""]]:
    """One Adam step on the whole loss, and the loss."""
    draws = floq.sample_draws(state.parameters, len(batch.rewards), key=key)
    value, gradients = jax.value_and_grad(loss, argnums=1)(
        config, state.parameters, state.targets, batch, draws
    )
    optimizer = optax.adam(config.learning_rate)
    updates, moments = optimizer.update(gradients, state.optimizer)
    parameters = optax.apply_updates(state.parameters, updates)
    rate = config.target_rate
    targets = jax.tree.map(
        lambda slow, fast: rate * fast + (1 - rate) * slow, state.targets, state.parameters.critic
    )
    return State(parameters, targets, moments, state.step + 1), value
