"""Transitions on the device, stored once, sampled inside compiled loops."""

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Real

from floq.data.fingerprint import fingerprint, form_field, whole_field
from floq.data.trajectories import check_decisions, decisions, first_rows
from floq.observations import ObservationForm, stacked
from floq.types import Batch, Statistics

Kind = TypeVar("Kind", bound="Transitions")


@dataclasses.dataclass(frozen=True, eq=False)
class Transitions:
    """States in the order in which they were visited, and which of them transitions start from.

    Attributes:
        observations: The states.
        actions: The actions in [-1, 1] taken at them.
        rewards: The rewards of the actions, in the environment's own units.
        masks: 1 - terminated: 0 where the next state has no value.
        transitions: Rows from which a transition starts, in increasing order.
        chunk: Actions in sequence that a transition's action holds.
        lookahead: Steps from a transition's observation to its next one; these two may be above 1
            after `with_decisions`.
        action_low: What -1 stands for in each entry of an action, in the environment's own units;
            None if nobody has said.
        action_high: What 1 stands for, likewise.
        form: What the bytes of an observation are, of images and dictionaries; None of vectors.
        first_rows: The first row of each row's trajectory, where observations stack frames.
    """

    observations: Real[Array, "rows obs"]
    actions: Float[Array, "rows act"]
    rewards: Float[Array, " rows"]
    masks: Float[Array, " rows"]
    transitions: Int[Array, " size"]
    chunk: int = dataclasses.field(default=1, metadata={"static": True})
    lookahead: int = dataclasses.field(default=1, metadata={"static": True})
    action_low: tuple[float, ...] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    action_high: tuple[float, ...] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    form: ObservationForm | None = dataclasses.field(default=None, metadata={"static": True})
    first_rows: Int[Array, " rows"] | None = None

    def trajectories(self) -> dict[str, Any]:
        """Observations, actions, rewards, masks and terminals of all rows, last states included."""
        fields = ("observations", "actions", "rewards", "masks")
        rows: dict[str, Any] = {field: np.asarray(getattr(self, field)) for field in fields}
        if self.form is not None:
            rows["observations"] = self.form.bare.unpack(rows["observations"])
        return {**rows, "terminals": ~self._is_start()}

    def _is_start(self) -> np.ndarray:
        """Whether a transition starts from a row, bool (rows,)."""
        is_start = np.zeros(len(self.rewards), bool)
        is_start[np.asarray(self.transitions)] = True
        return is_start

    def with_decisions(
        self: Kind,
        *,
        action_chunk: int = 1,
        n_step: int = 1,
        discount: float,
        setting: str = "action_chunk",
    ) -> Kind:
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
            setting: What sets the length of a chunk, for errors.

        Raises:
            ValueError: If a number is below 1, or no trajectory is long enough.
        """
        if action_chunk < 1 or n_step < 1 or self.lookahead != 1:
            raise ValueError(
                f"decisions of {action_chunk} steps with {n_step}-step targets over transitions of "
                f"{self.lookahead} steps: give 1 or more for each, once."
            )
        lookahead = action_chunk * n_step
        steps, is_start = {"action_chunk": action_chunk, "n_step": n_step}, self._is_start()
        flags = (np.asarray(self.masks), is_start)
        total, going_on, starts = decisions(
            np.asarray(self.rewards), *flags, **steps, discount=discount
        )
        check_decisions(is_start, starts, **steps, setting=setting)
        return dataclasses.replace(
            self,
            rewards=jnp.asarray(total),
            masks=jnp.asarray(going_on),
            transitions=jnp.asarray(starts, jnp.int32),
            chunk=action_chunk,
            lookahead=lookahead,
        )

    def with_frames(self: Kind, count: int) -> Kind:
        """The same data, whose observations hold the frames of the last `count` steps.

        Each is stored once: they are put together where a batch is drawn. A trajectory's first
        frame stands for those before it.

        Args:
            count: Frames of an observation, 1 or more.

        Raises:
            ValueError: If observations are vectors, or hold several frames already.
        """
        if count == 1:
            return self
        form = stacked(self.form, count)
        # Every row from which no transition starts is the last of its trajectory.
        first = jnp.asarray(first_rows(~self._is_start()))
        return dataclasses.replace(self, form=form, first_rows=first)

    @property
    def size(self) -> int:
        """Number of transitions."""
        return self.transitions.shape[0]

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation, or its bytes, and of an action of a single step."""
        return self.observations.shape[1], self.actions.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory on the device, in bytes."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self))

    @property
    def statistics(self) -> Statistics:
        """Dimensions and the range of the rewards of the transitions; not under `jit`."""
        rewards = np.asarray(self.rewards)[np.asarray(self.transitions)]
        return Statistics(
            observation_dim=self.observations.shape[1] * (self.form.frames if self.form else 1),
            action_dim=self.actions.shape[1] * self.chunk,
            reward_min=float(rewards.min()),
            reward_max=float(rewards.max()),
            observations=self.form,
        )

    def fingerprint(self) -> str:
        """SHA-256 of the data, in hexadecimal: equal for equal datasets on any device.

        It reads everything: less than a second for a million transitions.
        """
        # Bounds that nobody gave, and the form of vectors, are no part of the data.
        found = {name: value for name, value in vars(self).items() if value is not None}
        return fingerprint(
            form_field(value) if name == "form" else whole_field(name, value)
            for name, value in found.items()
        )

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
            observations=self._observed(rows),
            actions=self._decision(rows),
            rewards=self.rewards[rows],
            masks=self.masks[rows],
            next_observations=self._observed(following),
            next_actions=jnp.where(is_next[:, None], self._decision(next_starts), 0),
            next_action_masks=is_next.astype(jnp.float32),
        )

    def _observed(self, rows: Int[Array, " batch"]) -> Array:
        """What is seen at each of the rows: its observation, after those of the frames before."""
        if self.first_rows is None or self.form is None:
            return self.observations[rows]
        before = jnp.arange(self.form.frames)[::-1]
        frames = jnp.maximum(rows[:, None] - before, self.first_rows[rows][:, None])
        return self.observations[frames].reshape(len(rows), -1)

    def _decision(self, rows: Int[Array, " batch"]) -> Float[Array, "batch act"]:
        """The actions in sequence of a decision at each of the rows."""
        steps = rows[:, None] + jnp.arange(self.chunk)
        return self.actions[steps].reshape(len(rows), -1)

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn uniformly with replacement."""
        return self.take(jax.random.randint(key, (batch_size,), 0, self.size))
