"""What critics of all kinds have in common: their inputs, and what they know of targets."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.networks import ValueSupport
from floq.settings import check_not_negative, check_positive
from floq.types import Actions, Critic, Statistics

Sampling = Literal["independent", "strata"]


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """Settings of a critic, which know how to make it.

    A critic of your own has a frozen dataclass that is derived from this one and is named once by
    `floq.register_critic`; algorithms that take any critic, such as FQL, then take it too. One that
    is a single network is derived from `floq.NetworkCriticConfig`, and its critic, whose loss is
    all that it must say, from `floq.NetworkCritic`.
    """

    def create(self, statistics: Statistics, *, discount: float, key: Key[Array, ""]) -> Critic:
        """The critic before the first update: what `floq.Critic` describes.

        Args:
            statistics: Sizes of observations and actions, and the range of the rewards.
            discount: γ from one transition's observation to the next.
            key: Key of the initialisation.

        Raises:
            ValueError: If the discount or the range of rewards leaves no room for the critic.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its critic is made.")


def check_ensemble(config: Any) -> None:
    """Refuses an empty ensemble, and a pessimism that is none or would count twice.

    Raises:
        ValueError: If so.
    """
    check_positive(config, "members")
    check_not_negative(config, "pessimism")
    if config.pessimism and config.aggregation == "min":
        raise ValueError(
            f'pessimism is {config.pessimism} and aggregation is "min", which is pessimistic by '
            'itself: set aggregation to "mean", or pessimism to 0.'
        )


# Added on either side of the range of rewards before it becomes a range of returns.
_REWARD_MARGIN = 0.01


def pair_inputs(
    observations: Real[Array, "batch obs"], actions: Actions
) -> Float[Array, "batch actions_each features"]:
    """(s, a) side by side, for one action a state or several."""
    if actions.ndim == 2:
        actions = actions[:, None]
    states = jnp.broadcast_to(observations[:, None], (*actions.shape[:-1], observations.shape[-1]))
    return jnp.concatenate([states, actions], axis=-1)


def value_support(statistics: Statistics, discount: float) -> ValueSupport:
    """The returns that rewards within their range, and a little more, can add up to.

    Raises:
        ValueError: If the discount or the range of rewards is impossible.
    """
    low, high = float(statistics.reward_min), float(statistics.reward_max)
    if not 0 <= discount < 1:
        raise ValueError(
            f"discount is {discount}: the range of returns is the range of rewards divided by 1 − "
            "discount, so give a number from 0 up to but not including 1."
        )
    if not low <= high:
        raise ValueError(f"The range of rewards is [{low}, {high}]: give its lower end first.")
    horizon = 1 / (1 - discount)
    return ValueSupport((low - _REWARD_MARGIN) * horizon, (high + _REWARD_MARGIN) * horizon)


def check_target_samples(targets: Float[Array, "batch target_samples"]) -> None:
    """Refuses targets without the axis of samples, which would be broadcast over the wrong one.

    Raises:
        ValueError: If so.
    """
    if targets.ndim != 2:
        raise ValueError(
            f"targets have the shape {targets.shape}: give [batch, samples]; one target for each "
            "state is targets[:, None]."
        )


def sample_interval(
    shape: tuple[int, ...], low: float, high: float, sampling: Sampling, *, key: Key[Array, ""]
) -> Float[Array, "..."]:
    """Numbers that are uniform over an interval, independent along the last axis or from strata.

    From strata, each of the m numbers of a row lies in another of m equal parts of the interval, in
    a random order of the row's own: each is uniform, and so is any number of them that is picked
    by its place, while their mean varies m² times less where it follows them linearly.
    """
    if sampling == "independent":
        return jax.random.uniform(key, shape, minval=low, maxval=high)
    place_key, order_key = jax.random.split(key)
    parts = jnp.arange(shape[-1])
    shares = (parts + jax.random.uniform(place_key, shape)) / shape[-1]
    shares = jax.random.permutation(order_key, shares, axis=len(shape) - 1, independent=True)
    # Rounding must not reach the end itself: at t = 1 no path has anything left to go.
    return low + (high - low) * jnp.minimum(shares, 1 - jnp.finfo(shares.dtype).epsneg)
