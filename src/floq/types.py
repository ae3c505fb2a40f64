"""The vocabulary that every part of floq shares.

Shapes are written with the names `batch`, `ensemble`, `samples`, `obs` and `act`
(and `rows` for a whole dataset).
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Key, Real

from floq.observations import ObservationForm

Metrics = dict[str, Float[Array, ""]]
"""What an update reports: a flat dictionary from "part/name" to scalars."""


class Batch(NamedTuple):
    """Transitions (s, a, r, mask, s′) as an update consumes them.

    Attributes:
        observations: The states s.
        actions: The actions a in [−1, 1] that the data took at s.
        rewards: The rewards r of these actions, in the environment's own units.
        masks: 1 − terminated: 0 where the next state has no value, at true ends only
            and never at a time limit.
        next_observations: The states s′ that followed.
        next_actions: The actions that the data took at s′; None if the batch's source has none.
        next_action_masks: 1 where the data has a next action, 0 where it has none, as at the end
            of a trajectory; None means that every next action is there.
        policy_observations: The states s as the policy learns at them, where goals in them are
            others than the critic's; None if they are the same.
    """

    observations: Real[Array, "batch obs"]
    actions: Float[Array, "batch act"]
    rewards: Float[Array, " batch"]
    masks: Float[Array, " batch"]
    next_observations: Real[Array, "batch obs"]
    next_actions: Float[Array, "batch act"] | None = None
    next_action_masks: Float[Array, " batch"] | None = None
    policy_observations: Float[Array, "batch obs"] | None = None

    @property
    def for_policy(self) -> "Batch":
        """The batch as the policy learns from it."""
        if self.policy_observations is None:
            return self
        return self._replace(observations=self.policy_observations)


class Statistics(NamedTuple):
    """What an algorithm needs to know of a dataset before it sees a batch.

    Attributes:
        observation_dim: Number of entries of an observation, or of its bytes where it has a form.
        action_dim: Number of entries of an action.
        reward_min: Smallest reward of the dataset.
        reward_max: Largest reward of the dataset.
        observations: What the bytes of an observation are; None of vectors.
    """

    observation_dim: int
    action_dim: int
    reward_min: float
    reward_max: float
    observations: ObservationForm | None = None

    @property
    def observation_dtype(self) -> type[np.generic]:
        """float32 of vectors; uint8 of what has a form."""
        return np.float32 if self.observations is None else np.uint8


Actions = Float[Array, "batch act"] | Float[Array, "batch samples act"]
"""One action for all samples of a state, or one for each."""


@runtime_checkable
class Critic(Protocol):
    """What estimates Q(s, a), whatever it is made of: a pytree whose arrays are all parameters.

    A critic gives samples of the return, each of which reads a noise number: the start of a flow,
    or the level of a quantile. Critics without samples give the same value for every noise.

    Learning from data is two calls: `sample_draws` once, then `td_loss` with a slow copy of the
    critic.
    """

    @property
    def noise_samples(self) -> int:
        """Samples m that a value averages."""
        ...

    def sample_noise(self, shape: tuple[int, ...], *, key: Key[Array, ""]) -> Float[Array, "..."]:
        """Noise for `return_samples`."""
        ...

    def return_samples(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
        /,
    ) -> Float[Array, "ensemble batch samples"]:
        """Each member's samples of the return of (s, a), in units of return."""
        ...

    def values(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
        /,
    ) -> Float[Array, " batch"]:
        """Q(s, a): the mean over samples of what the config makes of the members' samples."""
        ...

    def features(
        self,
        observations: Real[Array, "batch obs"],
        actions: Actions,
        noise: Float[Array, "batch samples"],
    ) -> Float[Array, "ensemble batch samples_each features"]:
        """Each member's last hidden layer, from which the samples are read; a flow's as it starts.

        Critics whose samples are all the same have it once for each action of a state.
        """
        ...

    def sample_draws(self, batch_size: int, *, key: Key[Array, ""]) -> Any:
        """All random numbers that `loss` and `td_loss` need for a batch, in a named tuple."""
        ...

    def loss(
        self,
        observations: Real[Array, "batch obs"],
        actions: Float[Array, "batch act"],
        targets: Float[Array, "batch target_samples"],
        draws: Any,
    ) -> Float[Array, ""]:
        """The loss against given samples of the target, of which there may be one."""
        ...

    def td_loss(
        self,
        target_critic: Any,
        batch: Batch,
        next_actions: Float[Array, "batch samples act"],
        discount: float,
        draws: Any,
    ) -> tuple[Float[Array, ""], Float[Array, "batch target_samples"]]:
        """The loss against one-step targets of a slow copy, and those targets.

        Args:
            target_critic: The slow copy, of the same class.
            batch: Transitions.
            next_actions: The policy's actions at the next states, one for each sample.
            discount: γ from one transition's observation to the next.
            draws: Random numbers, from `sample_draws`.
        """
        ...


class NoDraws(NamedTuple):
    """The random numbers of a loss that needs none."""


@runtime_checkable
class Policy(Protocol):
    """Anything that acts: a batch of observations in, a batch of actions out."""

    def __call__(
        self, observations: Real[Array, "batch obs"], keys: Key[Array, " batch"], /
    ) -> Float[Array, "batch act"]:
        """Actions in [−1, 1], each drawn with the key of its own row.

        One key a row makes an episode's noise independent of the episodes that happen to be
        stepped beside it.
        """
        ...


@runtime_checkable
class Algorithm(Protocol):
    """A learning rule as three pure functions over one pytree of state.

    Each module of `floq.algorithms` satisfies this protocol. One whose policy is learned beside a
    clone of the data's behaviour also has `act_behaviour`, with the arguments of `act`.
    """

    @property
    def Config(self) -> type:  # noqa: N802 - a class
        """The settings: a frozen dataclass with at least the four fields that training reads.

        These are `batch_size`, the `discount` of a single step, `action_chunk`, the steps that one
        decision lasts, and `n_step`, the decisions that a target looks ahead.
        """
        ...

    def init(self, config: Any, statistics: Statistics, *, key: Key[Array, ""]) -> Any:
        """The state before the first update: any pytree of arrays, with none in it twice.

        Training compiles it, stacks it over seeds, and writes every array of it into checkpoints.

        Args:
            config: Settings.
            statistics: Sizes of observations and of decisions, which with action chunks hold
                `action_chunk` actions each, and the range of the rewards.
            key: Key of the initialisation.
        """
        ...

    def update(
        self, config: Any, state: Any, batch: Batch, *, key: Key[Array, ""]
    ) -> tuple[Any, Metrics]:
        """The state after one update on `batch`, and what to log of it.

        It is compiled, hundreds of updates at once, so that it can only compute.

        Args:
            config: Settings.
            state: The state before, of one seed.
            batch: `batch_size` transitions, whose rewards and masks are those of whole decisions.
            key: Key of all that is random in it.

        Returns:
            The new state, of the same shapes, and scalars by name; one that is not finite ends the
            training.
        """
        ...

    def act(
        self,
        config: Any,
        state: Any,
        observations: Real[Array, "batch obs"],
        *,
        keys: Key[Array, " batch"],
    ) -> Float[Array, "batch act"]:
        """Actions in [−1, 1] of the learned policy; with action chunks those of several steps.

        Args:
            config: Settings.
            state: The state of one seed.
            observations: States.
            keys: One for each of them, so that an action does not depend on the batch's others.
        """
        ...
