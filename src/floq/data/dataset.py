"""Offline data on the device: built of arrays and files, and saved."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from floq.data.bounds import ActionBounds, Bound, action_bounds
from floq.data.files import DatasetFile, write_file
from floq.data.formats import Source, as_sources, placed, read_source, source_arguments
from floq.data.memory import clip_actions, filled, observation_dtype, on_device, pieces
from floq.data.reading import Layout, Reading
from floq.data.trajectories import (
    rows_of_states,
    rows_of_transitions,
    starts_of,
    warn_of_masks,
)
from floq.data.transitions import Transitions
from floq.data.validation import check_and_rescale
from floq.disk import user_path
from floq.observations import ObservationForm, Packed, packed, warn_of_channels


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset(Transitions):
    """Transitions of many trajectories, with every observation stored once.

    The rows are states in the order in which they were visited. The state after row i is row
    i + 1, so that no copy of the next observations is kept; the last state of a trajectory has a
    row too, from which no transition starts. Build one with `from_trajectories`,
    `from_transitions` or `load`, which check the data.

    Its arrays, and what can be done with them, are those of `floq.data.transitions.Transitions`. A
    dataset is a pytree: pass it into compiled functions and scan over `sample`.

    A million transitions of cube-double (37 entries of observation, 5 of action) take 180 MB on
    the device: 4 · (37 + 5 + 1 + 1) bytes for each of 1.001 million rows, and 4 bytes a transition.
    """

    def __repr__(self) -> str:
        """One line, by shapes alone: compiled functions have no numbers to show."""
        held = (self.observations, self.actions, self.transitions)
        if [getattr(values, "ndim", None) for values in held] != [2, 2, 1]:
            return super().__repr__()  # Of a tree of something else, or of several datasets.
        (rows, actions), size = self.actions.shape, self.transitions.shape[0]
        # Each trajectory has one row from which no transition starts.
        ended = f", trajectories: {rows - size:,}" if self.lookahead == 1 else ""
        seen = self.form or [self.observations.shape[1]]
        return (
            f"<Dataset: transitions: {size:,}{ended}, observations: {seen}, actions: {[actions]}>"
        )

    @classmethod
    def from_trajectories(
        cls,
        observations: ArrayLike | Mapping[str, Any] | Packed,
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
        observations: ArrayLike | Mapping[str, Any] | Packed,
        actions: ArrayLike,
        rewards: ArrayLike,
        masks: ArrayLike,
        next_observations: ArrayLike | Mapping[str, Any] | Packed,
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
        recorded: ActionBounds | None,
        source: str,
    ) -> "Dataset":
        """A dataset of rows of states, sound, clipped, float32 or bytes, which it takes over."""
        transitions = starts_of(is_end, source=source)
        warn_of_masks(masks, transitions, source=source)
        warn_of_channels(form)
        low, high = recorded or (None, None)
        return cls(
            observations=on_device(observations),
            actions=on_device(actions),
            rewards=on_device(rewards),
            masks=on_device(masks),
            transitions=jnp.array(transitions, dtype=jnp.int32),
            action_low=low,
            action_high=high,
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
        return _joined(
            [
                cls.from_file(read_source(one, reading), one.path, reading, given=given)
                for one in sources
            ],
            source=name,
        )

    @classmethod
    def from_file(
        cls, file: DatasetFile, path: Path, reading: Reading, *, given: ActionBounds | None
    ) -> "Dataset":
        """A dataset of what was read of a file.

        Args:
            file: What was read.
            path: Where.
            reading: How, where the file leaves that open.
            given: Bounds of the actions, if somebody gave them.

        Raises:
            ValueError: It lacks a field, or has other bounds, or unsound data.
        """
        arguments, recorded = source_arguments(file, path, reading, given=given)
        build = cls.from_trajectories if "terminals" in arguments else cls.from_transitions
        with placed(file):
            return dataclasses.replace(build(**arguments, source=str(path)), **recorded)

    def save(self, path: str | Path) -> None:
        """Writes an npz file that `load` reads back to a dataset of the same fingerprint.

        Raises:
            ValueError: If the path does not end with .npz, or transitions last several steps.
            OSError: If the disk does not take it; a former file is intact then.
        """
        path = user_path(path)
        if path.suffix != ".npz":
            raise ValueError(f"{path}: a dataset is saved as npz: let the name end with .npz")
        if self.lookahead != 1:
            raise ValueError(
                f"{path}: these transitions last {self.lookahead} steps: save the dataset that "
                "with_decisions was called on"
            )
        write_file(path, self.trajectories(), low=self.action_low, high=self.action_high)


def _joined(datasets: Sequence[Dataset], *, source: str) -> Dataset:
    """The transitions of several datasets, one after the other.

    Args:
        datasets: One or more, of equal sizes and bounds.
        source: What they are called in messages.

    Raises:
        ValueError: If they differ.
    """
    if len(datasets) == 1:
        return datasets[0]
    forms = [_form(one) for one in datasets]
    for number, form in enumerate(forms, start=1):
        for what, value in form.items():
            if value != forms[0][what]:
                raise ValueError(
                    f"{source}: {what}: {forms[0][what]} in the first set, and {value} in set "
                    f"{number}: join sets of one environment"
                )
    start, parts = 0, list[Dataset]()
    for one in datasets:
        parts.append(dataclasses.replace(one, transitions=one.transitions + start))
        start += len(one.rewards)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _form(dataset: Dataset) -> dict[str, Any]:
    """What sets must share, in words."""
    return {
        "entries of an observation": dataset.form or dataset.observations.shape[1:],
        "entries of an action": dataset.actions.shape[1:],
        "bounds of actions": (dataset.action_low, dataset.action_high),
    }
