"""A small MDP whose Q is known, and what a critic learns of it from samples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from floq.critics import CriticConfig
from floq.losses import ema_update
from floq.types import Batch, Statistics

STATES, ACTIONS = 5, 3


class MDP:
    """Five states and three actions at random; entering state 0 ends the episode.

    The policy is random too, and always takes the same action at a state if `one_action` is set.
    """

    def __init__(self, seed: int, *, one_action: bool = False):
        random = np.random.default_rng(seed)
        self.rewards = random.uniform(-1, 0, (STATES, ACTIONS))
        self.following = random.integers(0, STATES, (STATES, ACTIONS))
        self.masks = (self.following != 0).astype(np.float64)
        self.policy = random.dirichlet(np.ones(ACTIONS), STATES)
        if one_action:
            self.policy = (self.policy == self.policy.max(axis=1, keepdims=True)).astype(float)

    def values(self, discount: float) -> np.ndarray:
        """Q of the policy, by linear algebra: Q = r + γ M P Q."""
        size = STATES * ACTIONS
        transition = np.zeros((size, size))
        for state in range(STATES):
            for action in range(ACTIONS):
                following = self.following[state, action]
                columns = following * ACTIONS + np.arange(ACTIONS)
                row = state * ACTIONS + action
                transition[row, columns] = self.masks[state, action] * self.policy[following]
        return np.linalg.solve(np.eye(size) - discount * transition, self.rewards.ravel())


def evaluate_policy(mdp: MDP, config: CriticConfig, discount: float, steps: int) -> np.ndarray:
    """Q of the MDP's policy as a critic learns it, through the protocol of all critics."""
    pairs = np.stack(np.meshgrid(range(STATES), range(ACTIONS), indexing="ij"), -1).reshape(-1, 2)
    following = jnp.asarray(mdp.following.ravel())
    batch = Batch(
        observations=jnp.eye(STATES)[pairs[:, 0]],
        actions=jnp.eye(ACTIONS)[pairs[:, 1]],
        rewards=jnp.asarray(mdp.rewards.ravel(), jnp.float32),
        masks=jnp.asarray(mdp.masks.ravel(), jnp.float32),
        next_observations=jnp.eye(STATES)[following],
    )
    logits = jnp.log(jnp.asarray(mdp.policy, jnp.float32))[following]
    size = STATES * ACTIONS
    statistics = Statistics(STATES, ACTIONS, mdp.rewards.min(), mdp.rewards.max())
    critic = config.create(statistics, discount=discount, key=jax.random.key(0))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def update(carry, key):
        critic, target, moments = carry
        action_key, draw_key = jax.random.split(key)
        shape = (size, critic.noise_samples)
        chosen = jax.random.categorical(action_key, logits[:, None], shape=shape)
        next_actions = jnp.eye(ACTIONS)[chosen]
        draws = critic.sample_draws(size, key=draw_key)
        gradient = jax.grad(lambda c: c.td_loss(target, batch, next_actions, discount, draws)[0])(
            critic
        )
        updates, moments = optimizer.update(gradient, moments)
        target = ema_update(target, critic, 0.02)
        return (optax.apply_updates(critic, updates), target, moments), None

    @jax.jit
    def train(critic):
        carry = (critic, critic, optimizer.init(critic))
        (critic, _, _), _ = jax.lax.scan(update, carry, jax.random.split(jax.random.key(1), steps))
        noise = critic.sample_noise((size, 256), key=jax.random.key(2))
        return critic.values(batch.observations, batch.actions, noise)

    return np.asarray(train(critic))
