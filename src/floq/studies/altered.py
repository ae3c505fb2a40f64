"""floq or FQL with something done to its critics on purpose, as studies do.

The value benchmark (`floq.studies.value_program.Training`) alters the same by the same functions.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, Real

from floq.algorithms import floq, fql
from floq.algorithms.common import State, data_chunk
from floq.losses import ema_update
from floq.networks import is_head
from floq.settings import check_not_negative, check_positive, normalise
from floq.types import Batch, Critic, Metrics, Statistics


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

    base: floq.Config | fql.Config = floq.Config()
    target_noise: float = 0.0
    updates_per_target: int = 1
    freeze_after: int = 0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        check_not_negative(self, "target_noise", "freeze_after")
        check_positive(self, "updates_per_target")
        if data_chunk(self.base) != self.base.action_chunk:
            raise ValueError(
                "base.critic_chunk is longer than base.action_chunk: nothing alters such a floq, "
                "so leave critic_chunk at 0."
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
    batch = with_noise(batch, config.target_noise, key=noise_key)
    held = state.targets

    def once(before: State, own_key: Key[Array, ""]) -> tuple[State, Metrics]:
        after, metrics = _rule(config).update(
            config.base, before._replace(targets=held), batch, key=own_key
        )
        targets = ema_update(before.targets, before.parameters.critic, config.base.target_rate)
        after = after._replace(targets=targets)
        if config.freeze_after:
            frozen = before.step >= config.freeze_after
            critics = {
                name: with_features_of(getattr(before.parameters, name), critic, frozen)
                for name in ("critic", "distilled")
                if (critic := getattr(after.parameters, name, None)) is not None
            }
            after = after._replace(parameters=dataclasses.replace(after.parameters, **critics))
        return after, metrics

    state, metrics = jax.lax.scan(once, state, jnp.stack(keys))
    return state, jax.tree.map(lambda each: each[-1], metrics)


def act(
    config: Config,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the algorithm's own policy."""
    return _rule(config).act(config.base, state, observations, keys=keys)


def act_behaviour(
    config: Config,
    state: State,
    observations: Real[Array, "batch obs"],
    *,
    keys: Key[Array, " batch"],
) -> Float[Array, "batch act"]:
    """Actions in [−1, 1] of the behaviour flow."""
    return _rule(config).act_behaviour(config.base, state, observations, keys=keys)


def _rule(config: Config) -> Any:
    return floq if isinstance(config.base, floq.Config) else fql


def with_noise(batch: Batch, deviation: float, *, key: Key[Array, ""]) -> Batch:
    """The batch with normal noise on its rewards, and so on its targets."""
    noise = deviation * jax.random.normal(key, batch.rewards.shape)
    return batch._replace(rewards=batch.rewards + noise)


def with_features_of(before: Critic, after: Critic, frozen: Bool[Array, ""]) -> Critic:
    """The critic after an update, but where it is frozen all layers below the last from before."""
    return jax.tree_util.tree_map_with_path(
        lambda path, old, new: new if is_head(path) else jnp.where(frozen, old, new), before, after
    )
