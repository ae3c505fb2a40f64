"""Offline data on the device, stored once, sampled inside compiled loops."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Real
from numpy.typing import ArrayLike

from floq.data.bounds import ActionBounds, Bound, action_bounds
from floq.data.files import write_file
from floq.data.fingerprint import fingerprint, whole_field
from floq.data.formats import Source, as_sources, placed, source_arguments
from floq.data.joining import join
from floq.data.memory import ACTION_LIMIT as ACTION_LIMIT
from floq.data.memory import clip_actions, filled, observation_dtype, on_device, pieces
from floq.data.reading import Layout, Reading
from floq.data.trajectories import (
    check_decisions,
    decisions,
    rows_of_states,
    rows_of_transitions,
    starts_of,
    warn_of_masks,
)
from floq.data.validation import check_and_rescale
from floq.disk import user_path
from floq.observations import ObservationForm, packed
from floq.types import Batch, Statistics


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Transitions of many trajectories, with every observation stored once.

    The rows are states in the order in which they were visited. The state after row i is row
    i + 1, so that no copy of the next observations is kept; the last state of a trajectory has a
    row too, from which no transition starts. Build one with `from_trajectories`,
    `from_transitions` or `load`, which check the data.

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

    @classmethod
    def from_trajectories(
        cls,
        observations: ArrayLike | Mapping[str, Any],
        actions: ArrayLike,
        rewards: ArrayLike,
        masks: ArrayLike,
        terminals: ArrayLike,
        *,
        layout: Layout | None = None,
        action_low: Bound | None = None,
        action_high: Bound | None = None,
        action_space: Any = None,
        source: str = "from_trajectories",
    ) -> "Dataset":
        """A dataset from whole trajectories, one after the other, as OGBench's files hold them.

        Args:
            observations: The states (rows, obs), each trajectory's last one included; or images of
                bytes (rows, height, width, channels), or a dictionary of such arrays.
            actions: The actions (rows, act) within [-1, 1], or within the bounds that are given;
                clipped to ±`ACTION_LIMIT`.
            rewards: The reward of each action (rows,).
            masks: 1 - terminated, 0 or 1 (rows,).
            terminals: 1 at the last row of each trajectory, for whatever reason it ended, else 0
                (rows,).
            layout: What a trajectory's last row is. "states": a state from which nothing was done,
                so that its action, reward and mask count for nothing. "transitions": a transition
                like any other, as in D4RL's data; with the mask 0 it counts, with the mask 1 its
                next observation is missing and it is left out, with a warning. None: states, but
                refused where rewards or masks of these rows look like those of transitions.
            action_low: Least action, in the environment's own units: one number for all entries,
                or one for each. Given, the actions are in these units, and are rescaled.
            action_high: Greatest action, likewise.
            action_space: The environment's box of actions, in place of both.
            source: What the data is called in error messages.

        Raises:
            ValueError: A fault of the data, with its field and first row, or no transition at all.
        """
        rows, form = packed(observations, source=source)
        arrays = {
            "observations": rows,
            "actions": actions,
            "rewards": rewards,
            "masks": masks,
            "terminals": terminals,
        }
        given = action_bounds(action_low, action_high, action_space, source=source)
        arrays, recorded = check_and_rescale(arrays, source=source, given=given)
        arrays = rows_of_states(arrays, layout, source=source)
        is_end = arrays.pop("terminals") != 0
        actions = arrays.pop("actions")
        dtypes = {"observations": observation_dtype(form)}
        copies = {
            field: filled(values.shape, pieces(values), dtypes.get(field, np.float32))
            for field, values in arrays.items()
        }
        copies["actions"] = filled(actions.shape, map(clip_actions, pieces(actions)))
        return cls.from_rows(**copies, is_end=is_end, form=form, recorded=recorded, source=source)

    @classmethod
    def from_transitions(
        cls,
        observations: ArrayLike | Mapping[str, Any],
        actions: ArrayLike,
        rewards: ArrayLike,
        masks: ArrayLike,
        next_observations: ArrayLike | Mapping[str, Any],
        *,
        ends: ArrayLike | None = None,
        action_low: Bound | None = None,
        action_high: Bound | None = None,
        action_space: Any = None,
        source: str = "from_transitions",
    ) -> "Dataset":
        """A dataset from separate transitions, as D4RL and most users' own data hold them.

        A next observation that equals the observation of the following transition is stored once.
        Transitions in the order in which they were collected therefore take half the memory of
        shuffled ones. Their order is kept.

        Args:
            observations: The states (size, obs), or images of bytes (size, height, width,
                channels), or a dictionary of such arrays.
            actions: The actions (size, act) within [-1, 1], or within the bounds that are given;
                clipped to ±`ACTION_LIMIT`.
            rewards: The reward of each action (size,).
            masks: 1 - terminated, 0 or 1 (size,): not 0 at a time limit.
            next_observations: The states that followed (size, obs).
            ends: 1 at the last transition of each trajectory, for whatever reason it ended, else 0.
                By default a trajectory ends where the next observation is not the following
                transition's observation.
            action_low: Least action, in the environment's own units: one number for all entries,
                or one for each. Given, the actions are in these units, and are rescaled.
            action_high: Greatest action, likewise.
            action_space: The environment's box of actions, in place of both.
            source: What the data is called in error messages.

        Raises:
            ValueError: A fault of the data, with its field and first row.
        """
        states, form = packed(observations, source=source)
        following, next_form = packed(next_observations, source=source)
        if form != next_form:
            raise ValueError(
                f"{source}: observations hold {form or 'vectors'}, and next_observations "
                f"{next_form or 'vectors'}: both must describe the same state"
            )
        arrays = {
            "observations": states,
            "actions": actions,
            "rewards": rewards,
            "masks": masks,
            "next_observations": following,
        }
        if ends is not None:
            arrays["ends"] = ends
        given = action_bounds(action_low, action_high, action_space, source=source)
        arrays, recorded = check_and_rescale(arrays, source=source, given=given)
        rows = rows_of_transitions(arrays, is_packed=form is not None)
        return cls.from_rows(**rows, form=form, recorded=recorded, source=source)

    @classmethod
    def from_rows(
        cls,
        *,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        masks: np.ndarray,
        is_end: np.ndarray,
        form: ObservationForm | None,
        recorded: Mapping[str, tuple[float, ...]],
        source: str,
    ) -> "Dataset":
        """A dataset of rows of states, sound, clipped, float32 or bytes, which it takes over."""
        transitions = starts_of(is_end, source=source)
        warn_of_masks(masks, transitions, source=source)
        return cls(
            observations=on_device(observations),
            actions=on_device(actions),
            rewards=on_device(rewards),
            masks=on_device(masks),
            transitions=jnp.array(transitions, dtype=jnp.int32),
            action_low=recorded.get("action_low"),
            action_high=recorded.get("action_high"),
            form=form,
        )

    @classmethod
    def load(
        cls,
        source: str | Path | Source | Sequence[str | Path | Source],
        *,
        reading: Reading = Reading(),
        action_low: Bound | None = None,
        action_high: Bound | None = None,
        action_space: Any = None,
        **choices: Any,
    ) -> "Dataset":
        """A dataset from files: floq's and those of other libraries, one or several joined.

        An npz file is one that `save` wrote, or holds arguments of `from_trajectories` or of
        `from_transitions` by their names.

        Args:
            source: A path, whose format is told by what it holds, or `minari:NAME`, `d4rl:PATH`,
                `robomimic:PATH`, `lerobot:PATH`, `ogbench:NAME`; or several, whose transitions
                follow one another.
            reading: What to read where the files leave it open.
            action_low: As in `from_trajectories`; a file that has bounds needs none.
            action_high: Likewise.
            action_space: Likewise.
            choices: Fields of `floq.Reading` by name, such as convention or filter_key.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: A file is damaged, lacks a field, has other bounds, or unsound data.
            MissingExtraError: A package is missing that reads it.

        Example:
            >>> Dataset.load("d4rl:hopper-medium-v2.hdf5", convention="locomotion")
        """
        reading = dataclasses.replace(reading, **choices)
        sources = as_sources(source)
        name = ", ".join(str(one.path) for one in sources)
        given = action_bounds(action_low, action_high, action_space, source=name)
        return join([cls._read(one, reading, given) for one in sources], source=name)

    @classmethod
    def _read(cls, source: Source, reading: Reading, given: ActionBounds | None) -> "Dataset":
        file, arguments, recorded = source_arguments(source, reading, given=given)
        build = cls.from_trajectories if "terminals" in arguments else cls.from_transitions
        with placed(file):
            return dataclasses.replace(build(**arguments, source=str(source.path)), **recorded)

    def save(self, path: str | Path) -> None:
        """Writes an npz file that `load` reads back to a dataset of the same fingerprint.

        Raises:
            ValueError: If the path does not end with .npz, observations are dictionaries, or
                transitions last several steps.
            OSError: If the disk does not take it; a former file is intact then.
        """
        path = user_path(path)
        if path.suffix != ".npz":
            raise ValueError(f"{path}: a dataset is saved as npz: let the name end with .npz")
        if self.form is not None and self.form.parts[0].name:
            raise ValueError(
                f"{path}: observations are {self.form}, and a file of floq's holds vectors or one "
                "image: keep the arrays that the dataset was made from"
            )
        if self.lookahead != 1:
            raise ValueError(
                f"{path}: these transitions last {self.lookahead} steps: save the dataset that "
                "with_decisions was called on"
            )
        write_file(path, self.trajectories(), low=self.action_low, high=self.action_high)

    def trajectories(self) -> dict[str, np.ndarray]:
        """Observations, actions, rewards, masks and terminals of all rows, last states included."""
        fields = ("observations", "actions", "rewards", "masks")
        rows = {field: np.asarray(getattr(self, field)) for field in fields}
        if self.form is not None:
            rows["observations"] = self.form.bare.unpack(rows["observations"])
        return {**rows, "terminals": ~self._is_start()}

    def _is_start(self) -> np.ndarray:
        """Whether a transition starts from a row, bool (rows,)."""
        is_start = np.zeros(len(self.rewards), bool)
        is_start[np.asarray(self.transitions)] = True
        return is_start

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
        steps, is_start = {"action_chunk": action_chunk, "n_step": n_step}, self._is_start()
        flags = (np.asarray(self.masks), is_start)
        total, going_on, starts = decisions(
            np.asarray(self.rewards), *flags, **steps, discount=discount
        )
        check_decisions(is_start, starts, **steps)
        return dataclasses.replace(
            self,
            rewards=jnp.asarray(total),
            masks=jnp.asarray(going_on),
            transitions=jnp.asarray(starts, jnp.int32),
            chunk=action_chunk,
            lookahead=lookahead,
        )

    def with_frames(self, count: int) -> "Dataset":
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
        if self.form is None or self.form.frames != 1 or count < 1:
            held = "vectors" if self.form is None else f"{self.form.frames} frames"
            raise ValueError(
                f"frames is {count} and observations are {held}: stack 1 or more images, once."
            )
        # Every row from which no transition starts is the last of its trajectory.
        is_first = np.append(True, ~self._is_start()[:-1])
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(is_first)), 0))
        form = self.form._replace(frames=count)
        return dataclasses.replace(self, form=form, first_rows=jnp.asarray(first, jnp.int32))

    @property
    def size(self) -> int:
        """Number of transitions."""
        return self.transitions.shape[0]

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation, or its bytes, and of an action of a single step."""
        return self.observations.shape[1], self.actions.shape[1]

    @property
    def shown(self) -> tuple[int | ObservationForm, int]:
        """What an environment that it comes from shows and takes."""
        return self.form.bare if self.form else self.sizes[0], self.sizes[1]

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
            f"form {value};" if name == "form" else whole_field(name, value)
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
