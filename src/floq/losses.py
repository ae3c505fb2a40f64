"""Pure pieces of temporal-difference learning."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tree = TypeVar("Tree")


def td_target(
    rewards: Float[Array, " batch"],
    masks: Float[Array, " batch"],
    next_values: Float[Array, " batch"],
    discount: float,
) -> Float[Array, " batch"]:
    """The one-step target y = r + γ · mask · V(s′), cut off from the gradient.

    Args:
        rewards: Rewards r.
        masks: 1 − terminated: 0 leaves the next state out.
        next_values: The value of the next state under the target critic.
        discount: γ.
    """
    return jax.lax.stop_gradient(rewards + discount * masks * next_values)


def td_target_samples(
    rewards: Float[Array, " batch"],
    masks: Float[Array, " batch"],
    next_samples: Float[Array, "batch samples"],
    discount: float,
) -> Float[Array, "batch samples"]:
    """`td_target` of every sample of the next state's return."""
    return jax.vmap(td_target, (None, None, 1, None), 1)(rewards, masks, next_samples, discount)


def expectile_loss(
    error: Float[Array, "*shape"], level: Float[Array, "*#shape"] | float
) -> Float[Array, "*shape"]:
    """The asymmetric square |τ − 1(u < 0)| u² of an error u = target − estimate.

    Its minimum over the estimate is the target's expectile at the level τ (arXiv 2110.06169,
    section 4.1).
    """
    return jnp.abs(level - (error < 0)) * jnp.square(error)


def quantile_loss(
    error: Float[Array, "*shape"], level: Float[Array, "*#shape"] | float
) -> Float[Array, "*shape"]:
    """The asymmetric distance |τ − 1(u < 0)| |u| of an error u = target − estimate.

    Its minimum over the estimate is the target's quantile at the level τ: the pinball loss.
    """
    return jnp.abs(level - (error < 0)) * jnp.abs(error)


def advantage_weights(
    advantages: Float[Array, "*shape"], *, inverse_temperature: float, limit: float
) -> Float[Array, "*shape"]:
    """The weights min(exp(β A), limit) of actions, cut off from the gradient.

    Args:
        advantages: A = Q(s, a) − V(s), in units of return.
        inverse_temperature: β (arXiv 2110.06169, equation 7).
        limit: The largest weight.
    """
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(inverse_temperature * advantages), limit))


def cross_entropy(
    logits: Float[Array, "*shape bins"], probabilities: Float[Array, "*#shape bins"]
) -> Float[Array, "*shape"]:
    """The cross-entropy −Σ p log q to fixed `probabilities`, where q = softmax(logits)."""
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits), axis=-1)


def ema_update(target: Tree, online: Tree, rate: float) -> Tree:
    """The exponential moving average θ̄ ← τ θ + (1 − τ) θ̄ of every array of a pytree."""
    return jax.tree.map(lambda slow, fast: rate * fast + (1 - rate) * slow, target, online)
