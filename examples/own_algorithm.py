"""An algorithm of your own: a policy that copies the data's actions where they were good."""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import optax

import floq

ADAM = optax.adam(1e-3)


@dataclasses.dataclass(frozen=True)
class Config:
    """Training itself reads the first four."""

    batch_size: int = 256
    discount: float = 0.99
    action_chunk: int = 1
    n_step: int = 1
    critic: floq.ScalarCriticConfig = floq.ScalarCriticConfig(network=floq.NetworkConfig((64, 64)))


def init(config, statistics, *, key):  # The state: any pytree of arrays.
    critic, network = floq.ScalarCritic(statistics, config.critic, key=key), config.critic.network
    policy = floq.MLP(statistics.observation_dim, statistics.action_dim, network, key=key)
    target = jax.tree.map(jnp.copy, critic)  # No array may be in a state twice.
    networks: Any = critic, policy
    return {"networks": networks, "target": target, "adam": ADAM.init(networks)}


def update(config, state, batch, *, key):
    states, after = batch.observations, batch.next_observations
    next_values = state["target"].values(after, act(config, state, after, keys=None))
    targets = floq.td_target(batch.rewards, batch.masks, next_values, config.discount)

    def loss(networks):
        critic, policy = networks
        error = critic.loss(states, batch.actions, targets[:, None])
        actions = jnp.tanh(policy(states))
        gains = critic.values(states, batch.actions) - critic.values(states, actions)
        weights = jnp.clip(jnp.exp(jax.lax.stop_gradient(gains)), max=10.0)
        return error + jnp.mean(weights * jnp.abs(actions - batch.actions).sum(1)), {"error": error}

    gradients, metrics = jax.grad(loss, has_aux=True)(state["networks"])
    steps, adam = ADAM.update(gradients, state["adam"])
    networks: Any = optax.apply_updates(state["networks"], steps)
    target = floq.ema_update(state["target"], networks[0], 0.005)
    return {"networks": networks, "target": target, "adam": adam}, metrics


def act(config, state, observations, *, keys):
    return jnp.tanh(state["networks"][1](observations))  # [batch, act], within [-1, 1].


# Now `floq train TASK --algorithm weighted --plugin own_algorithm` trains it, here; so the others.
floq.register_algorithm("weighted", sys.modules[__name__])
