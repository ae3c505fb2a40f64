"""floq or FQL with something done to its critics on purpose, as studies do.

What is altered is what the value benchmark can alter (`floq.studies.value_program.Training`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from floq.algorithms import floq, fql
from floq.algorithms.common import State, check_not_negative
from floq.losses import ema_update
from floq.networks import is_head
from floq.settings import normalise
from floq.types import Batch, Metrics, Statistics


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of an algorithm, and what is done to it.

    Attributes:
        base: The algorithm's own settings.
        target_noise: Standard deviation of normal noise on the rewards of every batch, in units of
            return.
        updates_per_target: Gradient steps on each batch, all against the slow copy of the first.
        freeze_after: Gradient steps after which only the critics' last layers learn, and the policy
            as before; 0 freezes nothing.
    """

    base: floq.Config | fql.Config
    target_noise: float = 0.0
    updates_per_target: int = 1
    freeze_after: int = 0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        check_not_negative(self, "target_noise", "freeze_after")
        if self.updates_per_target < 1:
            raise ValueError(
                f"updates_per_target is {self.updates_per_target}: give a whole number, 1 or more."
            )

    @property
    def batch_size(self) -> int:
        """The algorithm's own."""
        return self.base.batch_size

    @property
    def discount(self) -> float:
        """The algorithm's own."""
        return self.base.discount

    @property
    def action_chunk(self) -> int:
        """The algorithm's own."""
        return self.base.action_chunk

    @property
    def n_step(self) -> int:
        """The algorithm's own."""
        return self.base.n_step


def init(config: Config, statistics: Statistics, *, key: Key[Array, ""]) -> State:
    """The algorithm's own state before the first update."""
    return _rule(config).init(config.base, statistics, key=key)


def update(
    config: Config, state: State, batch: Batch, *, key: Key[Array, ""]
) -> tuple[State, Metrics]:
    """The state after `updates_per_target` gradient steps on `batch`, and what the last one logs.

    The slow copy follows in each of them, but targets are those of the copy before the first.
    """
    noise_key, *keys = jax.random.split(key, 1 + config.updates_per_target)
    noise = config.target_noise * jax.random.normal(noise_key, batch.rewards.shape)
    batch = batch._replace(rewards=batch.rewards + noise)
    held = state.targets

    def once(before: State, own_key: Key[Array, ""]) -> tuple[State, Metrics]:
        after, metrics = _rule(config).update(
            config.base, before._replace(targets=held), batch, key=own_key
        )
        targets = ema_update(before.targets, before.parameters.critic, config.base.target_rate)
        after = after._replace(targets=targets)
        if config.freeze_after:
            after = _with_features_of(before, after, before.step >= config.freeze_after)
        return after, metrics

    state, metrics = jax.lax.scan(once, state, jnp.stack(keys))
    return state, jax.tree.map(lambda each: each[-1], metrics)


def act(
    config: Config,
    state: State,
    observations: Float[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the algorithm's own policy."""
    return _rule(config).act(config.base, state, observations, keys=keys)


def act_behaviour(
    config: Config,
    state: State,
    observations: Float[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the behaviour flow."""
    return _rule(config).act_behaviour(config.base, state, observations, keys=keys)


def _rule(config: Config) -> Any:
    return floq if isinstance(config.base, floq.Config) else fql


def _with_features_of(before: State, after: State, frozen: Array) -> State:
    """The state after an update, but the critics' layers below the last one from before it."""

    def choose(path: tuple, old: Array, new: Array) -> Array:
        is_feature = path[0].name in ("critic", "distilled") and not is_head(path)
        return jnp.where(frozen, old, new) if is_feature else new

    parameters = jax.tree_util.tree_map_with_path(choose, before.parameters, after.parameters)
    return after._replace(parameters=parameters)
