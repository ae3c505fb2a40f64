"""Pure pieces of temporal-difference learning."""

from typing import TypeVar

import jax
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


def ema_update(target: Tree, online: Tree, rate: float) -> Tree:
    """The exponential moving average θ̄ ← τ θ + (1 − τ) θ̄ of every array of a pytree."""
    return jax.tree.map(lambda slow, fast: rate * fast + (1 - rate) * slow, target, online)
