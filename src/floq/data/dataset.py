"""Offline data on the device, stored once, sampled inside compiled loops."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy.typing import ArrayLike

from floq.data.validation import check_arrays
from floq.types import Batch, Statistics

ACTION_LIMIT = 1 - 1e-5
"""Actions are clipped to [-ACTION_LIMIT, ACTION_LIMIT], as in the published runs."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Transitions of many trajectories, with every observation stored once.

    The rows are states in the order in which they were visited. The state after row i is row
    i + 1, so that no copy of the next observations is kept; the last state of a trajectory has a
    row too, from which no transition starts. Build one with `from_trajectories` or
    `from_transitions`, which check the data.

    A dataset is a pytree: pass it into compiled functions and scan over `sample`.

    A million transitions of cube-double (37 entries of observation, 5 of action) take 180 MB on
    the device: 4 · (37 + 5 + 1 + 1) bytes for each of 1.001 million rows, and 4 bytes a transition.

    Attributes:
        observations: The states.
        actions: The actions in [-1, 1] taken at them.
        rewards: The rewards of the actions, in the environment's own units.
        masks: 1 - terminated: 0 where the next state has no value.
        transitions: Rows from which a transition starts, in increasing order.
        chunk: Actions in sequence that a transition's action holds.
        lookahead: Steps from a transition's observation to its next one; these two may be above 1
            after `with_decisions`.
    """

    observations: Float[Array, "rows obs"]
    actions: Float[Array, "rows act"]
    rewards: Float[Array, " rows"]
    masks: Float[Array, " rows"]
    transitions: Int[Array, " size"]
    chunk: int = dataclasses.field(default=1, metadata={"static": True})
    lookahead: int = dataclasses.field(default=1, metadata={"static": True})

    @classmethod
    def from_trajectories(
        cls,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        masks: ArrayLike,
        terminals: ArrayLike,
        *,
        source: str = "from_trajectories",
    ) -> "Dataset":
        """A dataset from whole trajectories, one after the other, as OGBench's files hold them.

        Args:
            observations: The states (rows, obs), each trajectory's last one included.
            actions: The actions (rows, act) within [-1, 1]; clipped to ±`ACTION_LIMIT`.
            rewards: The reward of each action (rows,).
            masks: 1 - terminated, 0 or 1 (rows,).
            terminals: 1 at the last row of each trajectory, whose action leads nowhere, else 0
                (rows,).
            source: What the data is called in error messages.

        Raises:
            ValueError: A fault of the data, with its field and first row, or no transition at all.
        """
        arrays = {
            "observations": observations,
            "actions": actions,
            "rewards": rewards,
            "masks": masks,
            "terminals": terminals,
        }
        arrays = check_arrays(arrays, source=source)
        transitions = np.flatnonzero(arrays.pop("terminals") == 0)
        if transitions.size == 0:
            raise ValueError(
                f"{source}: terminals are 1 at every row, so there is no transition: mark only the "
                "last row of each trajectory, and give each at least two rows"
            )
        return cls._on_device(**arrays, transitions=transitions)

    @classmethod
    def from_transitions(
        cls,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        masks: ArrayLike,
        next_observations: ArrayLike,
        *,
        ends: ArrayLike | None = None,
        source: str = "from_transitions",
    ) -> "Dataset":
        """A dataset from separate transitions, as D4RL and most users' own data hold them.

        A next observation that equals the observation of the following transition is stored once.
        Transitions in the order in which they were collected therefore take half the memory of
        shuffled ones. Their order is kept.

        Args:
            observations: The states (size, obs).
            actions: The actions (size, act) within [-1, 1]; clipped to ±`ACTION_LIMIT`.
            rewards: The reward of each action (size,).
            masks: 1 - terminated, 0 or 1 (size,): not 0 at a time limit.
            next_observations: The states that followed (size, obs).
            ends: 1 at the last transition of each trajectory, for whatever reason it ended, else 0.
                By default a trajectory ends where the next observation is not the following
                transition's observation.
            source: What the data is called in error messages.

        Raises:
            ValueError: A fault of the data, with its field and first row.
        """
        arrays = {
            "observations": observations,
            "actions": actions,
            "rewards": rewards,
            "masks": masks,
            "next_observations": next_observations,
        }
        if ends is not None:
            arrays["ends"] = ends
        arrays = check_arrays(arrays, source=source)
        states, following = (
            arrays.pop(field).astype(np.float32, copy=False)
            for field in ("observations", "next_observations")
        )
        breaks = np.ones(len(states), dtype=bool)
        breaks[:-1] = (following[:-1] != states[1:]).any(axis=1)
        if ends is not None:
            breaks |= arrays.pop("ends") != 0

        # Every break before a transition has put one more row, a last state, in front of it.
        transitions = np.arange(len(states)) + np.cumsum(breaks) - breaks
        size = len(states) + int(breaks.sum())

        def spread(values: np.ndarray) -> np.ndarray:
            rows = np.zeros((size, *values.shape[1:]), dtype=np.float32)
            rows[transitions] = values
            return rows

        rows = spread(states)
        rows[transitions[breaks] + 1] = following[breaks]
        others = {field: spread(values) for field, values in arrays.items()}
        return cls._on_device(observations=rows, **others, transitions=transitions)

    @classmethod
    def _on_device(
        cls,
        *,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        masks: np.ndarray,
        transitions: np.ndarray,
    ) -> "Dataset":
        clipped = np.clip(actions.astype(np.float32), -ACTION_LIMIT, ACTION_LIMIT)
        return cls(
            observations=jnp.array(observations, dtype=jnp.float32),
            actions=jnp.array(clipped),
            rewards=jnp.array(rewards, dtype=jnp.float32),
            masks=jnp.array(masks, dtype=jnp.float32),
            transitions=jnp.array(transitions, dtype=jnp.int32),
        )

    def with_decisions(
        self, *, action_chunk: int = 1, n_step: int = 1, discount: float
    ) -> "Dataset":
        """The same data as transitions between decisions that may last several steps.

        A transition's action is the next `action_chunk` actions in sequence, [action_chunk · act].
        Its reward is the discounted sum over the lookahead of `action_chunk` · `n_step` steps, up
        to a terminal one; its mask is 0 if one of them was terminal; its next observation is the
        one at the end of the lookahead. So these are ordinary transitions of a problem with the
        discount γ^(action_chunk · n_step). A start is left out where its trajectory ends, without
        being terminal, before the lookahead does, and where it has no whole chunk of actions.

        Args:
            action_chunk: Steps that one decision lasts, 1 or more.
            n_step: Decisions over which the rewards are summed, 1 or more.
            discount: γ of a single step.

        Raises:
            ValueError: If a number is below 1, or no trajectory is long enough.
        """
        if action_chunk < 1 or n_step < 1 or self.lookahead != 1:
            raise ValueError(
                f"decisions of {action_chunk} steps with {n_step}-step targets over transitions of "
                f"{self.lookahead} steps: give 1 or more for each, once."
            )
        lookahead = action_chunk * n_step
        rewards, masks = np.asarray(self.rewards), np.asarray(self.masks)
        rows = len(rewards)
        # Of each row: the transitions in a row from it on, until its trajectory's last state.
        is_start = np.zeros(rows, bool)
        is_start[np.asarray(self.transitions)] = True
        ends = np.append(np.flatnonzero(~is_start), rows)
        remaining = ends[np.searchsorted(ends, np.arange(rows))] - np.arange(rows)
        total, going_on = np.zeros_like(rewards), np.ones_like(masks)
        for step in range(lookahead):
            inside = np.flatnonzero(remaining > step)
            total[inside] += discount**step * going_on[inside] * rewards[inside + step]
            going_on[inside] *= masks[inside + step]
        reaches = (remaining >= lookahead) | (going_on == 0)
        starts = np.flatnonzero((remaining >= action_chunk) & reaches)
        if starts.size == 0:
            raise ValueError(
                f"no trajectory has {lookahead} transitions in a row: give a shorter action chunk "
                "or fewer steps."
            )
        return dataclasses.replace(
            self,
            rewards=jnp.asarray(total),
            masks=jnp.asarray(going_on),
            transitions=jnp.asarray(starts, jnp.int32),
            chunk=action_chunk,
            lookahead=lookahead,
        )

    @property
    def size(self) -> int:
        """Number of transitions."""
        return self.transitions.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory on the device, in bytes."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self))

    @property
    def statistics(self) -> Statistics:
        """Dimensions and the range of the rewards of the transitions; not under `jit`."""
        rewards = np.asarray(self.rewards)[np.asarray(self.transitions)]
        return Statistics(
            observation_dim=self.observations.shape[1],
            action_dim=self.actions.shape[1] * self.chunk,
            reward_min=float(rewards.min()),
            reward_max=float(rewards.max()),
        )

    def fingerprint(self) -> str:
        """SHA-256 of the data, in hexadecimal: equal for equal datasets on any device.

        It reads everything: less than a second for a million transitions.
        """
        digest = hashlib.sha256()
        for field in dataclasses.fields(self):
            values = np.ascontiguousarray(getattr(self, field.name))
            digest.update(f"{field.name} {values.dtype.str} {values.shape};".encode())
            digest.update(values.data)
        return digest.hexdigest()

    def take(self, positions: Int[Array, " batch"]) -> Batch:
        """The transitions at `positions`, each in [0, `size`).

        A next action is that of the transition that starts where this one ends. Where none does,
        it is 0 and masked: the action in a trajectory's last row may be padding.
        """
        rows = self.transitions[positions]
        # After a terminal step near the end of the data this may lie outside: nobody reads it.
        following = jnp.minimum(rows + self.lookahead, len(self.rewards) - 1)
        # Within a trajectory the starts before another start are as many as the rows.
        next_starts = self.transitions[jnp.minimum(positions + self.lookahead, self.size - 1)]
        is_next = next_starts == rows + self.lookahead
        return Batch(
            observations=self.observations[rows],
            actions=self._decision(rows),
            rewards=self.rewards[rows],
            masks=self.masks[rows],
            next_observations=self.observations[following],
            next_actions=jnp.where(is_next[:, None], self._decision(next_starts), 0),
            next_action_masks=is_next.astype(jnp.float32),
        )

    def _decision(self, rows: Int[Array, " batch"]) -> Float[Array, "batch act"]:
        """The actions in sequence of a decision at each of the rows."""
        steps = rows[:, None] + jnp.arange(self.chunk)
        return self.actions[steps].reshape(len(rows), -1)

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn uniformly with replacement."""
        return self.take(jax.random.randint(key, (batch_size,), 0, self.size))
