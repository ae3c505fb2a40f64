"""The values of implicit Q-learning (arXiv 2110.06169), for the policies that are built on them."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from floq.algorithms.common import TDConfig
from floq.critics.scalar import ScalarCritic, ScalarCriticConfig
from floq.losses import expectile_loss, td_target
from floq.networks import MLP, NetworkConfig
from floq.types import Batch, Metrics


@dataclasses.dataclass(frozen=True)
class ImplicitConfig(TDConfig):
    """Settings of implicit Q-learning; the defaults are those of the published runs.

    Attributes:
        critic: The critic Q(s, a).
        value_network: The network of V(s).
        expectile: Level τ in (0, 1) of the expectile of Q(s, a) over the data's actions that V(s)
            estimates: the nearer to 1, the nearer to the best of them.
    """

    critic: ScalarCriticConfig = ScalarCriticConfig(aggregation="min")
    value_network: NetworkConfig = NetworkConfig(layer_norm=True)
    expectile: float = 0.9

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        if not 0 < self.expectile < 1:
            raise ValueError(f"expectile is {self.expectile}: give a number between 0 and 1.")


def state_values(value: MLP, observations: Float[Array, "batch obs"]) -> Float[Array, " batch"]:
    """V(s)."""
    return value(observations)[..., 0]


def critic_loss(
    config: ImplicitConfig, parameters: Any, target_critic: ScalarCritic, batch: Batch
) -> tuple[Float[Array, ""], Metrics]:
    """Regression of Q on r + γ · mask · V(s′), and expectile regression of V on Q̄.

    L = Σ over members of (r + γ · mask · V(s′) − Q(s, a))² + |τ − 1(u < 0)| u² with the error
    u = Q̄(s, a) − V(s) (arXiv 2110.06169, equations 5 and 6). Neither reads an action that is not
    in the data. Q̄ is aggregated over the members of the slow copy; the errors of Q are summed over
    members, as in the published runs, where they are a mean in this library's other algorithms.

    Args:
        config: Settings.
        parameters: They have a `critic` and a `value` network.
        target_critic: The slow copy of the critic.
        batch: Transitions.
    """
    critic: ScalarCritic = parameters.critic
    next_values = state_values(parameters.value, batch.next_observations)
    targets = td_target(batch.rewards, batch.masks, next_values, config.decision_discount)
    mean_loss = critic.loss(batch.observations, batch.actions, targets[:, None])
    critic_loss = config.critic.members * mean_loss

    values = state_values(parameters.value, batch.observations)
    errors = target_critic.values(batch.observations, batch.actions) - values
    value_loss = jnp.mean(expectile_loss(errors, config.expectile))
    metrics = {
        "critic/loss": critic_loss,
        "critic/target": jnp.mean(targets),
        "value/loss": value_loss,
        "value/value": jnp.mean(values),
    }
    return critic_loss + value_loss, metrics
