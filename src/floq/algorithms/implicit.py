"""The values of implicit Q-learning (arXiv 2110.06169), for the policies that are built on them.

The critic may be any of the library's; with a flow critic no target reads an action of a policy.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real

from floq.algorithms.common import TDConfig
from floq.critics import CriticConfig, ScalarCriticConfig
from floq.losses import expectile_loss, quantile_loss, td_target
from floq.networks import MLP, Encoded, NetworkConfig
from floq.types import Batch, Critic, Metrics, NoDraws


@dataclasses.dataclass(frozen=True)
class ImplicitConfig(TDConfig):
    """Settings of implicit Q-learning; the defaults are those of the published runs.

    Attributes:
        critic: The critic Q(s, a), of any kind.
        value_network: The network of V(s).
        expectile: Level τ in (0, 1) of the expectile of Q(s, a) over the data's actions that V(s)
            estimates: the nearer to 1, the nearer to the best of them.
        value_statistic: What V(s) estimates at that level: the "expectile", as published, or the
            "quantile", which is an action's value itself, as in arXiv 2304.10573.
    """

    critic: CriticConfig = ScalarCriticConfig(aggregation="min")
    value_network: NetworkConfig = NetworkConfig(layer_norm=True)
    expectile: float = 0.9
    value_statistic: Literal["expectile", "quantile"] = "expectile"

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        super().__post_init__()
        if not 0 < self.expectile < 1:
            raise ValueError(f"expectile is {self.expectile}: give a number between 0 and 1.")


def state_values(
    value: MLP | Encoded, observations: Real[Array, "batch obs"]
) -> Float[Array, " batch"]:
    """V(s)."""
    return value(observations)[..., 0]


class ImplicitDraws(NamedTuple):
    """The random numbers of the losses of Q and V; a critic without noise needs none.

    Attributes:
        critic: Those of the critic's loss.
        value_noise: What both copies of the critic read where V and the policy learn from them.
    """

    critic: Any = NoDraws()
    value_noise: Any = None


def sample_draws_of(critic: Critic, batch_size: int, *, key: Key[Array, ""]) -> ImplicitDraws:
    """All random numbers that Q and V need for a batch."""
    critic_key, value_key = jax.random.split(key)
    return ImplicitDraws(
        critic.sample_draws(batch_size, key=critic_key),
        critic.sample_noise((batch_size, critic.noise_samples), key=value_key),
    )


def critic_loss(
    config: ImplicitConfig,
    parameters: Any,
    target_critic: Critic,
    batch: Batch,
    draws: ImplicitDraws = ImplicitDraws(),
) -> tuple[Float[Array, ""], Metrics]:
    """Regression of Q on r + γ · mask · V(s′), and expectile regression of V on Q̄.

    L = Σ over members of (r + γ · mask · V(s′) − Q(s, a))² + |τ − 1(u < 0)| u² with the error
    u = Q̄(s, a) − V(s) (arXiv 2110.06169, equations 5 and 6). Neither reads an action that is not
    in the data. Q̄ is aggregated over the members of the slow copy; the errors of Q are summed over
    members, as in the published runs, where they are a mean in this library's other algorithms.
    Another critic has its own loss in the place of the square, against the same targets.

    Args:
        config: Settings.
        parameters: They have a `critic` and a `value` network.
        target_critic: The slow copy of the critic.
        batch: Transitions.
        draws: Random numbers, from `sample_draws_of`.
    """
    critic: Critic = parameters.critic
    observations, actions = batch.observations, batch.actions
    next_values = state_values(parameters.value, batch.next_observations)
    targets = td_target(batch.rewards, batch.masks, next_values, config.decision_discount)
    mean_loss = critic.loss(observations, actions, targets[:, None], draws.critic)
    # A critic of one's own need not be an ensemble.
    critic_loss = getattr(config.critic, "members", 1) * mean_loss

    values = state_values(parameters.value, observations)
    errors = target_critic.values(observations, actions, draws.value_noise) - values
    loss = expectile_loss if config.value_statistic == "expectile" else quantile_loss
    value_loss = jnp.mean(loss(errors, config.expectile))
    metrics = {
        "critic/loss": critic_loss,
        "critic/target": jnp.mean(targets),
        "value/loss": value_loss,
        "value/value": jnp.mean(values),
    }
    return critic_loss + value_loss, metrics
