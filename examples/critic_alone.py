"""A flow critic alone: how good is my policy, judged from my data?"""

import jax
import jax.numpy as jnp
import optax

import floq

keys = jax.random.split(jax.random.key(0), 3)
states = jax.random.uniform(keys[0], (4096, 1))  # My data: one step right or left on [0, 1],
actions = jax.random.uniform(keys[1], (4096, 1), minval=-1, maxval=1)  # rewarded by the place.
next_states = jnp.clip(states + 0.1 * actions, 0, 1)
my_policy = lambda states: jnp.ones((*states.shape[:-1], 1))  # My policy always goes right.

statistics = floq.Statistics(observation_dim=1, action_dim=1, reward_min=0.0, reward_max=1.0)
network = floq.NetworkConfig((32, 32), layer_norm=True)
settings = floq.FlowCriticConfig(integration_steps=4, noise_samples=4, network=network)
critic = target = floq.FlowCritic(statistics, settings, discount=0.9, key=keys[2])
optimizer = optax.adam(2e-3)


@jax.jit
def update(critic, target, moments, key):
    keys = jax.random.split(key)
    rows = jax.random.randint(keys[0], (128,), 0, len(states))
    batch = floq.Batch(
        states[rows], actions[rows], states[rows, 0], jnp.ones(128), next_states[rows]
    )
    next_actions = my_policy(jnp.repeat(batch.next_observations[:, None], 4, axis=1))
    draws = critic.sample_draws(128, key=keys[1])
    loss = lambda critic: critic.td_loss(target, batch, next_actions, 0.9, draws)[0]
    updates, moments = optimizer.update(jax.grad(loss)(critic), moments)
    return optax.apply_updates(critic, updates), floq.ema_update(target, critic, 0.02), moments


moments = optimizer.init(critic)  # pyright: ignore[reportArgumentType]
for step in range(3_000):
    critic, target, moments = update(critic, target, moments, jax.random.key(step))
noise = critic.sample_noise((1, 64), key=jax.random.key(1))
print("Q(0.5, right) =", critic.values(jnp.array([[0.5]]), jnp.array([[1.0]]), noise))
