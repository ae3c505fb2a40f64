"""Rows of whole trajectories in npz files, one after the other, read piece by piece."""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.files import parts_of, read_marks
from floq.data.formats.ogbench import training_files
from floq.data.memory import clip_actions, rows_of_piece
from floq.data.npz import Member, find_members
from floq.data.validation import FieldCheck, check_forms
from floq.observations import ObservationForm, nested, packed

Label = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""Rewards and masks of rows, by the fields that they follow from."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShardedRows:
    """States in the order in which they were visited, each trajectory's last one included.

    Attributes:
        path: The file, or the folder of the files.
        shards: The arrays of each file by field: actions, terminals, `fields` and `parts`.
        parts: The fields that hold observations: that one, or one for each part of a dictionary.
        fields: Those that rewards and masks follow from.
        label: Rewards and masks by these.
        bounds: What the files' actions lie within, which are rescaled; None of actions in [-1, 1].
        recorded: What -1 and 1 stand for in each entry of an action, if it is known.
    """

    path: Path
    shards: Sequence[Mapping[str, Member]]
    parts: Sequence[str]
    fields: Sequence[str]
    label: Label
    bounds: ActionBounds | None
    recorded: ActionBounds | None

    @classmethod
    def open(
        cls, path: Path, *, fields: Sequence[str] = ("rewards", "masks"), label: Label | None = None
    ) -> "ShardedRows":
        """The rows of a file, or of the training files of a folder.

        Args:
            path: The file or folder.
            fields: What rewards and masks follow from.
            label: Rewards and masks by these; None has the files hold them.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: A file is damaged or lacks a field, they differ, or last rows may be
                transitions.
        """
        files = training_files(path)
        parts = parts_of(files[0])["observations"] or ["observations"]
        required = (*parts, "actions", "terminals", *fields)
        found = [find_members(file, required=required) for file in files]
        marks = [read_marks(file) for file in files]
        for file, members, own in zip(files, found, marks, strict=True):
            form = _form_of(members, parts)
            rows = {name: one.form for name, one in members.items() if name not in parts}
            sizes = {len(members[part].form) for part in parts}
            if len(sizes) > 1:
                raise ValueError(f"{file}: parts of observations differ in their rows: {sizes}")
            if form is None:
                rows["observations"] = members["observations"].form
            else:
                rows["observations"] = np.broadcast_to(np.uint8(0), (sizes.pop(), form.nbytes))
            check_forms(rows, source=str(file))
            if own != marks[0]:
                raise ValueError(f"{file}: its bounds or version are not those of {files[0].name}")
            if label is None and not own.is_saved:
                raise ValueError(
                    f"{file}: whether its last rows are states or transitions is not settled, as "
                    "streamed data needs it: write it anew with `floq data convert`"
                )
            for name, member in members.items():
                if member.shape[1:] != found[0][name].shape[1:]:
                    raise ValueError(
                        f"{file}: {name} has rows of shape {member.shape[1:]}, and those of "
                        f"{files[0].name} have {found[0][name].shape[1:]}"
                    )
        bounds, is_saved = marks[0].bounds, marks[0].is_saved
        if bounds is not None:
            bounds = bounds.each(found[0]["actions"].shape[1], source=str(path))
        return cls(
            path,
            found,
            parts,
            fields,
            label or (lambda arrays: (arrays["rewards"], arrays["masks"])),
            None if is_saved else bounds,
            bounds,
        )

    @functools.cached_property
    def firsts(self) -> list[int]:
        """Number of each shard's first row, and of all rows."""
        lengths = [one["terminals"].shape[0] for one in self.shards]
        return list(itertools.accumulate(lengths, initial=0))

    @property
    def count(self) -> int:
        """Number of all rows."""
        return self.firsts[-1]

    @property
    def widths(self) -> tuple[int, int]:
        """Entries of an observation, or its bytes, and of an action."""
        first = self.shards[0]
        width = self.form.nbytes if self.form else math.prod(first["observations"].shape[1:])
        return width, first["actions"].shape[1]

    @functools.cached_property
    def form(self) -> ObservationForm | None:
        """What the bytes of an observation are, of images; None of vectors."""
        return _form_of(self.shards[0], self.parts)

    def pieces(self, field: str) -> Iterator[np.ndarray]:
        """All rows of a field, some at a time, checked and as a dataset has them.

        Raises:
            ValueError: At the end of a file with a fault.
        """
        for members in self.shards:
            if field == "observations" and self.form:
                yield from self._images(members)
                continue
            for piece in _checked(field, members[field], self.bounds):
                yield self._finished(field, piece)

    def _images(self, members: Mapping[str, Member]) -> Iterator[np.ndarray]:
        """The observations of a file as bytes, some at a time."""
        rows, width = len(members[self.parts[0]].form), self.widths[0]
        count = rows_of_piece((rows, width), np.dtype(np.uint8))
        pieces = {part: members[part].pieces(count) for part in self.parts}
        for _ in range(0, rows, count):
            yield self._packed(members, {part: next(some) for part, some in pieces.items()})

    def _packed(
        self, members: Mapping[str, Member], arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        return packed(_observed(arrays), source=str(members[self.parts[0]].path))[0]

    def labels(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rewards and masks of all rows, float32, some at a time, checked.

        Raises:
            ValueError: At the end of a file with a fault.
        """
        for found in zip(*map(self.pieces, self.fields), strict=True):
            yield self._labelled(dict(zip(self.fields, found, strict=True)))

    def read(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Observations, actions, rewards and masks, from one row up to another.

        Images are bytes, all else is float32. After the last row comes the first one again, and
        before it the last.
        """
        parts = [self._read(*edges) for edges in self._edges(first, last)]
        return {field: np.concatenate([one[field] for one in parts]) for field in parts[0]}

    def _edges(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The shards that rows lie in, and the rows of each."""
        while first < last:
            start = first % self.count
            shard = bisect.bisect_right(self.firsts, start) - 1
            own = start - self.firsts[shard]
            end = min(own + last - first, self.firsts[shard + 1] - self.firsts[shard])
            yield shard, own, end
            first += end - own

    def _read(self, shard: int, first: int, last: int) -> dict[str, np.ndarray]:
        members = self.shards[shard]
        fields = ("actions", *self.fields, *(() if self.form else self.parts))
        rows = {field: self._finished(field, members[field].rows(first, last)) for field in fields}
        if self.form:
            shown = {part: members[part].rows(first, last) for part in self.parts}
            rows["observations"] = self._packed(members, shown)
        rewards, masks = self._labelled({field: rows[field] for field in self.fields})
        kept = {field: rows[field] for field in ("observations", "actions")}
        return kept | {"rewards": rewards, "masks": masks}

    def _labelled(self, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rewards, masks = self.label(arrays)
        return rewards.astype(np.float32, copy=False), masks.astype(np.float32, copy=False)

    def _finished(self, field: str, piece: np.ndarray) -> np.ndarray:
        if field == "observations":
            return piece.astype(np.float32, copy=False)
        if field != "actions":
            return piece
        if self.bounds is not None:
            piece = self.bounds.to_unit(piece)
        return clip_actions(piece)


def _form_of(members: Mapping[str, Member], parts: Sequence[str]) -> ObservationForm | None:
    """What observations are, by their first rows: a single one says what all are."""
    first = {part: members[part].form[:1] for part in parts}
    return packed(_observed(first), source=str(members[parts[0]].path))[1]


def _observed(arrays: Mapping[str, Any]) -> Any:
    """Arrays of a file as the observations that they are of."""
    named = {name.removeprefix("observations").removeprefix("/"): name for name in arrays}
    return nested({part: arrays[name] for part, name in named.items()})


def _checked(field: str, member: Member, bounds: ActionBounds | None) -> Iterator[np.ndarray]:
    """The rows of a field of a file, some at a time; at their end its fault is raised."""
    source = str(member.path)
    check = FieldCheck(field, member.shape, member.dtype, source=source, bounds=bounds)
    # Other fields are read side by side, in pieces of equally many rows.
    is_wide = field == "observations"
    for piece in member.pieces(rows_of_piece(member.shape, member.dtype) if is_wide else None):
        check.look(piece)
        yield piece
    check.settle()
