"""Transitions with goals that are drawn, and rewarded, inside the compiled sampler."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from floq.data.dataset import Dataset
from floq.data.goals import Future, Goals
from floq.types import Batch, Statistics


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GoalDataset:
    """Transitions of a dataset, each with a goal that is drawn when it is.

    An observation of a batch holds the goal behind the state's own entries. The reward is -1 in
    every step that begins elsewhere than at the goal; a step that begins at it has the reward 0 and
    the mask 0. So the value of a goal that is d steps away is -(1 - γ^d) / (1 - γ). Over an action
    chunk, or the steps of an n-step target, rewards are summed up to the goal in the same way. The
    data's own rewards and masks count for nothing.

    The data itself is stored once, as ever; beside it there are 4 bytes a row.

    Attributes:
        dataset: The data, one transition for each decision.
        last_rows: The last row of each row's trajectory.
        goals: Where goals come from.
        discount: γ of a single step.
    """

    dataset: Dataset
    last_rows: Int[Array, " rows"]
    goals: Goals = dataclasses.field(metadata={"static": True})
    discount: float = dataclasses.field(metadata={"static": True})

    @property
    def size(self) -> int:
        """Number of transitions."""
        return self.dataset.size

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation with its goal, and of an action of a single step."""
        observation_dim, action_dim = self.dataset.sizes
        return observation_dim + self.goals.goal_dim(observation_dim), action_dim

    @property
    def form(self) -> None:
        """Observations are vectors: a goal is entries of one."""
        return None

    @property
    def statistics(self) -> Statistics:
        """Dimensions, and the range that rewards can have; not under `jit`."""
        worst = -sum(self.discount**step for step in range(self.dataset.lookahead))
        action_dim = self.sizes[1] * self.dataset.chunk
        return Statistics(self.sizes[0], action_dim, reward_min=worst, reward_max=0.0)

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn uniformly with replacement, and goals for each."""
        position_key, value_key, policy_key = jax.random.split(key, 3)
        positions = jax.random.randint(position_key, (batch_size,), 0, self.size)
        rows, goals = self.dataset.transitions[positions], self.goals
        return self.relabelled(
            positions,
            self.goal_rows(rows, goals.value_goals, goals.value_future, key=value_key),
            self.goal_rows(rows, goals.policy_goals, goals.policy_future, key=policy_key),
        )

    def goal_rows(
        self,
        rows: Int[Array, " batch"],
        shares: tuple[float, float, float],
        future: Future,
        *,
        key: Key[Array, ""],
    ) -> Int[Array, " batch"]:
        """A goal's row for each transition's: its own, a later one of its trajectory, or any.

        Departure: goals may be a trajectory's last state, and any state is one of these too; the
        published sampler leaves them out.
        """
        kind_key, future_key, random_key = jax.random.split(key, 3)
        remaining = self.last_rows[rows] - rows
        if future == "geometric":
            drawn = jax.random.geometric(future_key, 1 - self.discount, rows.shape)
            ahead = jnp.minimum(drawn, remaining)
        else:
            ahead = jax.random.randint(future_key, rows.shape, 1, remaining + 1)
        anywhere = jax.random.randint(random_key, rows.shape, 0, len(self.last_rows))
        kind = jax.random.uniform(kind_key, rows.shape)
        elsewhere = jnp.where(kind < 1 - shares[2], rows + ahead, anywhere)
        return jnp.where(kind < shares[0], rows, elsewhere)

    def relabelled(
        self,
        positions: Int[Array, " batch"],
        value_rows: Int[Array, " batch"],
        policy_rows: Int[Array, " batch"],
    ) -> Batch:
        """The transitions at `positions` with the given rows as goals of critics and of the policy.

        Departure: a state is at its goal where the two are alike, by the tolerance; in the
        published sampler it must be the same row.
        """
        batch, goals = self.dataset.take(positions), self._goals_at(value_rows)
        lookahead = self.dataset.lookahead
        steps = self.dataset.transitions[positions][:, None] + jnp.arange(lookahead)
        squares = jnp.sum(jnp.square(self._goals_at(steps) - goals[:, None]), axis=-1)
        not_yet = jnp.cumprod(squares > self.goals.goal_tolerance**2, axis=1).astype(jnp.float32)
        weights = jnp.asarray(self.discount ** np.arange(lookahead), jnp.float32)
        return batch._replace(
            observations=jnp.concatenate([batch.observations, goals], axis=-1),
            rewards=-jnp.sum(weights * not_yet, axis=1),
            masks=not_yet[:, -1],
            next_observations=jnp.concatenate([batch.next_observations, goals], axis=-1),
            policy_observations=jnp.concatenate(
                [batch.observations, self._goals_at(policy_rows)], axis=-1
            ),
        )

    def _goals_at(self, rows: Int[Array, "*rows"]) -> Float[Array, "*rows goal"]:
        """The goals that the states of some rows are."""
        states = self.dataset.observations[rows]
        entries = self.goals.goal_entries
        return states[..., np.array(entries)] if entries else states


def last_rows(dataset: Dataset) -> Int[Array, " rows"]:
    """The last row of each row's trajectory, of data whose transitions are single steps."""
    rows = np.arange(len(dataset.rewards))
    ends = np.setdiff1d(rows, np.asarray(dataset.transitions))
    return jnp.asarray(ends[np.searchsorted(ends, rows)], jnp.int32)


def without_ends(dataset: Dataset) -> Dataset:
    """The data with no true end in it: what is over for one goal goes on for another.

    So no decision of several steps looks past its trajectory's last state.
    """
    return dataclasses.replace(dataset, masks=jnp.ones_like(dataset.masks))
