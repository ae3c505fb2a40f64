"""Data of which a part lies on the device at a time, in parts of equal size and random rows."""

import dataclasses
import functools
import warnings
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from floq.data.dataset import Dataset
from floq.data.memory import PIECE, Flags, edges, observation_dtype, on_device, zeros
from floq.data.reading import Parts
from floq.data.scan import Scan, scanned
from floq.data.sharded import ShardedRows
from floq.data.trajectories import decisions, first_rows
from floq.observations import ObservationForm, stacked, warn_of_channels
from floq.progress import ProgressDisplay
from floq.types import Batch, Statistics

_BLOCKS = 64
"""Blocks of a part, from as many places of the data."""
_LEAST = 1_024
"""Transitions of a block, if there is room: fewer cost more for being read apart."""
_FLOAT = 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Blocks of rows, of which some start transitions that batches are drawn from.

    Attributes:
        rows: The blocks, one after the other; after the starts of each block come as many more as
            a transition looks ahead, which no batch starts from, and before its rows those of the
            frames that its first observations are stacked of.
        block_size: Transitions of a block.
    """

    rows: Dataset
    block_size: int = dataclasses.field(metadata={"static": True})

    @property
    def size(self) -> int:
        """Number of transitions."""
        return self.rows.size // (self.block_size + self.rows.lookahead) * self.block_size

    @property
    def form(self) -> ObservationForm | None:
        """What the bytes of an observation are; None of vectors."""
        return self.rows.form

    def take(self, positions: Int[Array, " batch"]) -> Batch:
        """The transitions at `positions`, each in [0, `size`), as `Dataset.take` has them."""
        return self.rows.take(positions + positions // self.block_size * self.rows.lookahead)

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn uniformly with replacement."""
        return self.take(jax.random.randint(key, (batch_size,), 0, self.size))


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset:
    """A `Dataset` that stays in its files, for training from parts of it.

    Every pass over the data cuts it, as if it were a ring, from a random place on into blocks of
    equally many transitions, in random order; as many blocks in a row as fit are a part. A part
    stays for as many updates as draw each of its transitions once on average. So in each pass
    every block counts alike, and what is left between the last block and the first, less than one,
    is somewhere else in each pass: every transition has the same expected share.

    Attributes:
        rows: The files.
        scan: What was found in them.
        starts: Rows from which a transition starts.
        device_memory: Bytes that a part may take.
        form: What the bytes of an observation are, of images and dictionaries; None of vectors.
        chunk: As a dataset has it.
        lookahead: As a dataset has it.
        discount: γ of a single step, by which rewards are summed over the lookahead.
    """

    rows: ShardedRows
    scan: Scan
    starts: Flags
    device_memory: int
    form: ObservationForm | None
    chunk: int = 1
    lookahead: int = 1
    discount: float = 1.0

    @classmethod
    def of(cls, rows: ShardedRows, device_memory: int) -> "StreamedDataset":
        """The data of files, all of which is read and checked.

        Raises:
            ValueError: A fault of the data, with its field and first row, or no transition at all.
        """
        warn_of_channels(rows.form)
        scan = scanned(rows)
        starts = Flags(rows.count)
        for first, last in edges(rows.count):
            starts.write(first, ~scan.is_end.read(first, last))
        return cls(rows, scan, starts, device_memory, rows.form)._checked()

    def _checked(self) -> "StreamedDataset":
        if self.size == 0:
            raise ValueError(
                f"{self.rows.path}: there is no transition, or no trajectory with {self.lookahead} "
                "of them in a row"
            )
        return self

    def fingerprint(self) -> str:
        """That of the same data in memory."""
        return self.scan.fingerprint

    @property
    def size(self) -> int:
        """Number of transitions."""
        return int(self._before[-1])

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation, or its bytes, and of an action of a single step."""
        return self.rows.widths

    @property
    def action_low(self) -> tuple[float, ...] | None:
        """What -1 stands for in each entry of an action, if somebody has said."""
        return self.rows.recorded and self.rows.recorded.low

    @property
    def action_high(self) -> tuple[float, ...] | None:
        """What 1 stands for, likewise."""
        return self.rows.recorded and self.rows.recorded.high

    def observations(self) -> Iterator[np.ndarray]:
        """Those of all rows, some at a time, which reads them once more."""
        with ProgressDisplay(self.rows.count, bar=True, unit="rows") as display:
            display.note(f"reading {self.rows.path.name}")
            yield from display.through(self.rows.pieces("observations"))

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Dimensions and the range of the rewards of the transitions: reads all rewards."""
        least, most = np.inf, -np.inf
        for rewards, _, is_start in self._values():
            least = min(least, rewards[is_start].min(initial=np.inf))
            most = max(most, rewards[is_start].max(initial=-np.inf))
        observation_dim, action_dim = self.sizes
        sizes = observation_dim * (self._lookback + 1), action_dim * self.chunk
        return Statistics(*sizes, float(least), float(most), self.form)

    @property
    def has_ends(self) -> bool:
        """Whether a transition has the mask 0."""
        return any(
            (~self.scan.masks.read(*edges) & ~self.scan.is_end.read(*edges)).any()
            for edges in edges(self.rows.count)
        )

    def with_frames(self, count: int) -> "StreamedDataset":
        """The same data, whose observations hold several frames, as `Dataset.with_frames`.

        Raises:
            ValueError: If observations are vectors, or hold several frames already.
        """
        if count == 1:
            return self
        return dataclasses.replace(self, form=stacked(self.form, count))

    def with_decisions(
        self,
        *,
        action_chunk: int = 1,
        n_step: int = 1,
        discount: float,
        setting: str = "action_chunk",
    ) -> "StreamedDataset":
        """The same data as transitions that may last several steps, as `Dataset.with_decisions`.

        Raises:
            ValueError: If no trajectory is long enough.
        """
        lookahead = action_chunk * n_step
        several = dataclasses.replace(
            self,
            starts=Flags(self.rows.count),
            chunk=action_chunk,
            lookahead=lookahead,
            discount=discount,
        )
        for first, last in edges(self.rows.count):
            end = min(last + lookahead, self.rows.count)
            masks = self.scan.masks.read(first, end).astype(np.float32)
            found = several._decided(first, np.zeros_like(masks), masks)[2]
            several.starts.write(first, found[: last - first])
        lost = self.size - several._checked().size
        if lost > self.size / 10:
            warnings.warn(
                f"{setting}={action_chunk}, n_step={n_step} leaves out {lost:,} of "
                f"{self.size:,} transitions ({lost / self.size:.0%}), which have the end of their "
                f"trajectory within the {lookahead} steps that a decision looks ahead",
                UserWarning,
                stacklevel=2,
            )
        return several

    def parts(self, batch_size: int) -> Parts:
        """The largest parts that the memory of the device takes.

        Raises:
            ValueError: If it takes none.
        """
        row = self.rows.count / self.size * self._row_bytes + _FLOAT
        most = min(int(self.device_memory / row), self.size)
        blocks = max(1, min(_BLOCKS, most // _LEAST))
        size = most // blocks
        while size > 0 and (taken := self._bytes(blocks, size)) > self.device_memory:
            size = min(size - 1, int(size * self.device_memory / taken))
        if size < 1:
            raise ValueError(
                f"device_memory is {self.device_memory:,}: no {self.lookahead} steps "
                f"of {self.rows.path} fit: give more"
            )
        return Parts(blocks, size, self._most_rows(size), max(1, round(blocks * size / batch_size)))

    def _bytes(self, blocks: int, size: int) -> int:
        """Bytes on the device of a part."""
        listed = _FLOAT * (size + self.lookahead)
        return blocks * (self._most_rows(size) * self._row_bytes + listed)

    @property
    def _row_bytes(self) -> int:
        """Bytes on the device of a row."""
        observation_dim, action_dim = self.sizes
        numbers = action_dim + 2 + (self._lookback > 0)
        return observation_dim * observation_dtype(self.form).itemsize + _FLOAT * numbers

    @property
    def _lookback(self) -> int:
        """Rows before its own that an observation is stacked of."""
        return self.form.frames - 1 if self.form else 0

    @property
    def _margins(self) -> tuple[int, int]:
        """Rows of a block before that of its first start, and from that of its last one on."""
        return self._lookback, self.lookahead + self.chunk

    def _most_rows(self, size: int) -> int:
        """Rows of the block that has most."""
        spans = [
            (self._rows_of(first + size - 1, count) - self._rows_of(first, count)).max()
            for first, last in edges(self.size)
            for count in [last - first]
        ]
        return int(max(spans)) + sum(self._margins)

    def first_starts(self, parts: Parts, number: int, seed: int) -> Int[np.ndarray, " blocks"]:
        """The first transition of each block of a part.

        Args:
            parts: The sizes of all parts.
            number: Which part, from 0.
            seed: Of the order.
        """
        a_pass = self.size // parts.block_size
        blocks = number * parts.blocks + np.arange(parts.blocks)
        found = np.empty(parts.blocks, np.int64)
        for one in np.unique(blocks // a_pass):
            own = blocks // a_pass == one
            generator = np.random.default_rng([seed, int(one)])
            offset, order = generator.integers(self.size), generator.permutation(a_pass)
            all_firsts = pass_of(self.size, parts.block_size, int(offset))
            found[own] = all_firsts[order][blocks[own] % a_pass]
        return found

    def read(self, parts: Parts, number: int, seed: int) -> dict[str, np.ndarray]:
        """The arrays of a part, by the fields of its rows, in the host's memory.

        Args:
            parts: The sizes of all parts.
            number: Which part, from 0.
            seed: Of the order in which they come.

        Raises:
            ValueError: A file has been damaged.
        """
        size, slot = parts.block_size, parts.rows
        total = parts.blocks * slot
        observation_dim, action_dim = self.sizes
        rows = {
            "observations": zeros((total, observation_dim), observation_dtype(self.form)),
            "actions": zeros((total, action_dim)),
            "rewards": zeros((total,)),
            "masks": zeros((total,)),
        }
        if self._lookback:
            rows["first_rows"] = zeros((total,), np.int32)
        listed = np.zeros((parts.blocks, size + self.lookahead), np.int32)
        for block, start in enumerate(self.first_starts(parts, number, seed)):
            starts = self._rows_of(int(start), size + self.lookahead)
            before, after = self._margins
            first, last = int(starts[0]) - before, int(starts[size - 1]) + after
            found = self.rows.read(first, last)
            decided = self._decided(first, found["rewards"], found["masks"])
            found["rewards"], found["masks"], _ = decided
            found["first_rows"] = first_rows(self.scan.is_end.around(first, last)) + block * slot
            for field, values in rows.items():
                values[block * slot : block * slot + last - first] = found[field]
            listed[block] = starts - first + block * slot
        return rows | {"transitions": listed.reshape(-1)}

    def placed(self, parts: Parts, rows: dict[str, np.ndarray]) -> Part:
        """A part on the device, from the arrays that `read` gave, which it takes over."""
        arrays = {field: on_device(values) for field, values in rows.items()}
        found = Dataset(**arrays, chunk=self.chunk, lookahead=self.lookahead, form=self.form)
        return Part(found, parts.block_size)

    def _values(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rewards and masks over the lookahead, and whether a transition starts, piece by piece."""
        first, kept = 0, list[np.ndarray]()
        ahead = self.lookahead if self.lookahead > 1 else 0
        for rewards, _ in self.rows.labels():
            kept = [np.concatenate([*kept, rewards])]
            last = first + len(kept[0])
            end = last if last == self.rows.count else last - ahead
            if end <= first:
                continue
            masks = self.scan.masks.read(first, last).astype(np.float32)
            total, going_on, _ = self._decided(first, kept[0], masks)
            own = slice(0, end - first)
            yield total[own], going_on[own], self.starts.read(first, end)
            first, kept = end, [kept[0][end - first :]]

    def _decided(
        self, first: int, rewards: np.ndarray, masks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards and masks over the lookahead of rows, and whether a decision starts.

        What the last rows look ahead to is not there, so that theirs is not right.
        """
        is_end = self.scan.is_end.around(first, first + len(masks))
        if self.lookahead == 1:
            return rewards, masks, ~is_end
        total, going_on, starts = decisions(
            *(rewards, masks, ~is_end),
            action_chunk=self.chunk,
            n_step=self.lookahead // self.chunk,
            discount=self.discount,
        )
        is_start = np.zeros(len(masks), bool)
        is_start[starts] = True
        return total, going_on, is_start

    @functools.cached_property
    def _before(self) -> np.ndarray:
        """Transitions before each piece of the rows, and of all."""
        counts = [self.starts.read(*edges).sum() for edges in edges(self.rows.count)]
        return np.concatenate([[0], np.cumsum(counts)])

    def _rows_of(self, position: int, count: int) -> Int[np.ndarray, " count"]:
        """Rows of transitions in a row; after the last row of all the first one comes again."""
        found, shift = list[np.ndarray](), 0
        while count > 0:
            if position >= self.size:
                position, shift = position - self.size, shift + self.rows.count
            piece = int(np.searchsorted(self._before, position, side="right")) - 1
            first = piece * PIECE
            starts = np.flatnonzero(self.starts.read(first, min(first + PIECE, self.rows.count)))
            starts = starts[position - self._before[piece] :][:count]
            found.append(starts + first + shift)
            position, count = position + len(starts), count - len(starts)
        return np.concatenate(found)


Data = Dataset | StreamedDataset
"""What trains."""


def pass_of(size: int, block_size: int, offset: int) -> Int[np.ndarray, " blocks"]:
    """First transitions of all blocks of a pass, in the order of the data from a place on."""
    return (offset + np.arange(size // block_size) * block_size) % size
