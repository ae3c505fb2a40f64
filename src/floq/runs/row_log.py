"""The log of what the environments of a run gave, from which its buffers can be built again."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from floq.data.experience import Experience, Rows
from floq.runs.shards import LARGEST_SHARD, Shard, write_shard

_FIELDS = Rows._fields


class RowLog:
    """States that the environments have left, in the order of their steps, kept in shards.

    Only what is new since the last `write` is in memory.

    Attributes:
        counts: States that each environment has left, int64 [rows].
    """

    def __init__(self, folder: Path, environments: int, action_dim: int, *, kept: int):
        """An empty log.

        Args:
            folder: Where its shards go.
            environments: Rows of observations and actions: the environments of all seeds.
            action_dim: Entries of an action.
            kept: States of each environment that matter; older ones may go.
        """
        self._folder, self._action_dim, self._kept = folder, action_dim, kept
        self.counts = np.zeros(environments, np.int64)
        self._written = self.counts.copy()
        # Each shard, with the counts up to its end.
        self._shards: list[tuple[Shard, np.ndarray]] = []
        self._new: list[tuple[np.ndarray, Rows]] = []

    def append(self, observations: np.ndarray, experience: Experience) -> None:
        """Adds the states in which a step was made, and last states where episodes ended.

        Args:
            observations: What the environments showed before the step, [rows, obs].
            experience: What the step gave.
        """
        environments = np.arange(len(self.counts))
        self._append(
            environments,
            observations,
            np.asarray(experience.actions),
            np.asarray(experience.rewards),
            1 - np.asarray(experience.terminated, np.float32),
            is_last=False,
        )
        ended = np.flatnonzero(experience.terminated | experience.truncated)
        if ended.size:
            self.cut(ended, np.asarray(experience.next_observations)[ended])

    def cut(self, environments: np.ndarray, observations: np.ndarray) -> None:
        """Adds states as the last ones of their episodes."""
        nothing = np.zeros(len(environments), np.float32)
        actions = np.zeros((len(environments), self._action_dim), np.float32)
        self._append(environments, observations, actions, nothing, nothing + 1, is_last=True)

    def _append(
        self,
        environments: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        masks: np.ndarray,
        *,
        is_last: bool,
    ) -> None:
        lasts = np.full(len(environments), is_last)
        self._new.append((environments, Rows(observations, actions, rewards, masks, lasts)))
        self.counts[environments] += 1

    def write(self) -> list[Shard]:
        """Writes what is new, and gives all the shards that the log consists of now."""
        if self._new:
            environments, rows = zip(*self._new, strict=True)
            new = {
                name: np.concatenate(fields)
                for name, fields in zip(_FIELDS, zip(*rows, strict=True), strict=True)
            }
            new["environments"] = np.concatenate(environments).astype(np.int32)
            row_bytes = sum(values.nbytes for values in new.values()) // len(new["rewards"])
            size = max(LARGEST_SHARD // (2 * row_bytes), 1)
            for first in range(0, len(new["rewards"]), size):
                self._write({name: values[first : first + size] for name, values in new.items()})
            self._new = []
        # A shard goes once its newest states, too, have left every ring.
        oldest = self.counts - self._kept + 1
        self._shards = [(shard, ends) for shard, ends in self._shards if (ends > oldest).any()]
        return [shard for shard, _ in self._shards]

    def _write(self, arrays: dict[str, np.ndarray]) -> None:
        self._written += np.bincount(arrays["environments"], minlength=len(self._written))
        last = int(self._written.sum())
        arrays["counts"] = self._written.copy()
        shard = write_shard(self._folder, last - len(arrays["rewards"]), last, arrays)
        self._shards.append((shard, arrays["counts"]))

    def restore(
        self, shards: Sequence[Shard], contents: Sequence[dict[str, np.ndarray]]
    ) -> list[Rows]:
        """Goes on with written shards, and gives each environment's history that they hold.

        Nothing is given if nothing was ever written.

        Args:
            shards: What `write` gave.
            contents: Their arrays.
        """
        if not contents:
            return []
        self._shards = [
            (shard, arrays["counts"]) for shard, arrays in zip(shards, contents, strict=True)
        ]
        self.counts = contents[-1]["counts"].copy()
        self._written = self.counts.copy()
        environments = np.concatenate([arrays["environments"] for arrays in contents])
        fields = [np.concatenate([arrays[name] for arrays in contents]) for name in _FIELDS]
        # By environment, in the order of the log.
        order = np.argsort(environments, kind="stable")
        edges = np.searchsorted(environments[order], np.arange(len(self.counts) + 1))
        return [
            Rows(*(field[order[a:b]] for field in fields)) for a, b in itertools.pairwise(edges)
        ]
