"""The folder that a run leaves behind."""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from floq.algorithms import find_algorithm
from floq.algorithms.normalization import normalized
from floq.data.goals import Goals
from floq.data.reading import Parts, Reading
from floq.disk import json_bytes, read_json, replace_bytes, sync, sync_path, writable, writing
from floq.envs.make import EnvironmentSpec
from floq.observations import Normalization
from floq.plugins import command
from floq.runs.checkpoint import clean_up
from floq.runs.locks import hold
from floq.runs.settings import Online, Schedule
from floq.runs.versions import differences, versions
from floq.settings import from_json, to_json
from floq.streams import say
from floq.types import Algorithm, Statistics

METRICS = "metrics.jsonl"
EVALUATIONS = "evaluations.jsonl"
TIMINGS = "timings.jsonl"
EPISODES = "episodes.jsonl"
EVENTS = "events.jsonl"
CONFIG = "config.json"
VERSIONS = "versions.json"
_ROW_BYTES = 2**20
"""Most bytes of a line: rows have some hundred."""


class RunConfig(NamedTuple):
    """Everything that determines a run.

    Attributes:
        algorithm: Its name, as `floq.algorithms.find_algorithm` takes it.
        config: The algorithm's config.
        task: Name of the task that the data belongs to, if it is one of floq's.
        environment: What environments are built from; None does not evaluate.
        seeds: One for each of the runs that train side by side.
        steps: Updates on the dataset alone, before the first step in the environment.
        online: What follows in the environment; None ends with the last offline update.
        schedule: What happens at which steps.
        fingerprint: SHA-256 of the dataset; None without one.
        statistics: Shapes and reward range of what decisions give, by the dataset or as given.
        data: The source that the dataset was read from, or sources, if the run was given any.
        action_bounds: What -1 and 1 stand for in the data's actions, in the environment's own
            units; None if nobody has said.
        reading: How the sources were read where they leave that open; None if nothing was said.
        parts: How the data is cut that is streamed; None of data in memory.
        normalization: How observations are normalised before networks read them; None leaves them
            as they are.
        goals: Where the goals come from that it learns to reach; None learns from rewards.
    """

    algorithm: str
    config: Any
    task: str | None
    environment: EnvironmentSpec | None
    seeds: tuple[int, ...]
    steps: int
    online: Online | None
    schedule: Schedule
    fingerprint: str | None
    statistics: Statistics
    data: str | tuple[str, ...] | None = None
    action_bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    reading: Reading | None = None
    parts: Parts | None = None
    normalization: Normalization | None = None
    goals: Goals | None = None

    @property
    def rule(self) -> Algorithm:
        """The learning rule, which takes observations as data and environment have them."""
        rule, scale = find_algorithm(self.algorithm), self.normalization
        return rule if scale is None else normalized(rule, scale, self.statistics.observations)

    @property
    def needs_dataset(self) -> bool:
        """Whether somebody must give the data to go on, since the run does not know its place."""
        return self.fingerprint is not None and self.task is None and self.data is None

    @property
    def total_steps(self) -> int:
        """Offline updates and environment steps together: the last step that rows can have."""
        return self.steps + (self.online.steps if self.online else 0)

    @property
    def rows_per_step(self) -> dict[str, int]:
        """The rows that each file gets at a step at which it gets any."""
        policies = 1 + self.schedule.evaluate_bc if self.environment else 0
        seeds = len(self.seeds)
        return {METRICS: seeds, TIMINGS: 1, EVALUATIONS: seeds * policies}


class RunDirectory:
    """The files of a run, held by one process at a time.

    Rows are on the disk when `append` returns. Use as a context manager, which frees the folder.

    Attributes:
        path: The folder.
        checkpoints: Where its checkpoints lie.
        writes: Whether this process writes: of several that train together the first one does.
        listeners: Called after rows were written.
    """

    def __init__(self, path: Path, *, writes: bool = True):
        """Takes hold of an existing folder.

        Args:
            path: The folder.
            writes: False only reads, beside the process that holds the folder.

        Raises:
            HeldFolder: If another process is at work in it.
        """
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.writes = writes
        self.listeners: list[Callable[[], None]] = []
        self._lock: contextlib.ExitStack | None = None
        if writes:
            # What fails here or in `create` must leave the folder free for another try.
            with hold(path, what="training") as held:
                clean_up(self.checkpoints)
                self._lock = held.pop_all()

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> "RunDirectory":
        """Starts a new run, and takes hold of its folder.

        Raises:
            FileExistsError: If the folder holds a run.
            ValueError: If its settings could not be read back.
        """
        refuse_existing(path)
        config_bytes(config)
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(cls(path))
            refuse_existing(path)
            replace_bytes(path / VERSIONS, json_bytes([{"step": 0, **versions()}]))
            directory.write_config(config)
            sync_path(path.parent)
            stack.pop_all()
        return directory

    def __enter__(self) -> "RunDirectory":
        """The directory itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the folder for other processes."""
        if self._lock is not None:
            self._lock.close()

    def write_config(self, config: RunConfig) -> None:
        """Replaces `config.json`.

        Raises:
            ValueError: If it could not be read back.
        """
        content = config_bytes(config)
        if self.writes:
            replace_bytes(self.path / CONFIG, content)

    def check_versions(self, step: int) -> None:
        """Records the versions that a run goes on with, and warns where they have changed."""
        if not self.writes:
            return
        records, now = read_versions(self.path), versions()
        before = {name: value for name, value in records[-1].items() if name != "step"}
        changes = differences(before, now)
        if changes:
            warnings.warn(
                f"{self.path} goes on at step {step} with other versions, so that it need not end "
                f"bit-identical to an uncut run: {'; '.join(changes)}.",
                RuntimeWarning,
                stacklevel=2,
            )
            replace_bytes(self.path / VERSIONS, json_bytes([*records, {"step": step, **now}]))

    def say(self, message: str) -> None:
        """Prints a message, in the process that writes."""
        if self.writes:
            say(message)

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows to a file and waits until the disk has them.

        Raises:
            ValueError: If a number is not finite.
        """
        if not self.writes:
            return
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        path = self.path / name
        with writing(path), path.open("a") as file:
            file.write("".join(lines))
            file.flush()
            sync(file.fileno())
        for listener in self.listeners:
            listener()

    def rewind(self, expected: Mapping[str, int], step: int) -> set[str]:
        """Removes the rows that a checkpoint at `step` knows nothing of.

        Args:
            expected: For each file, the rows of a step that has rows at all.
            step: The checkpoint's.

        Returns:
            The files that have all their rows of that step. If one has only some, those are
            removed too.
        """
        complete = complete_files(self.path, expected, step)
        if not self.writes:
            return complete  # The same before and after another process has removed rows.
        last = {name: step - (name not in complete) for name in expected}
        # Episodes and events were on the disk before the checkpoint was.
        last |= {EPISODES: step, EVENTS: step}
        for path in (self.path / name for name in last):
            if path.exists():
                kept = [row for row in read_rows(path) if row["step"] <= last[path.name]]
                content = "".join(json.dumps(row) + "\n" for row in kept)
                replace_bytes(path, content.encode())
        return complete


def complete_files(path: Path, expected: Mapping[str, int], step: int) -> set[str]:
    """The files of a run that have all their rows of a step.

    Args:
        path: The run.
        expected: For each file, the rows of a step that has rows at all.
        step: The step.
    """
    return {
        name
        for name, count in expected.items()
        if sum(row["step"] == step for row in read_rows(path / name)) == count
    }


class RowTail:
    """Reads a file of one JSON object a line, each time what is new since the last.

    A last line that a killed process left unfinished, or another one is writing, is passed over. A
    file that has become shorter, as a resume makes it, is read from its start again.
    """

    def __init__(self, path: Path):
        self._path = path
        self._offset, self._lines = 0, 0

    def read(self) -> list[dict[str, Any]]:
        """The rows that have come since the last call; none if there is no file.

        Raises:
            ValueError: If another line than the last is not a row, or this is no regular file.
        """
        path = self._path
        if not path.exists():
            return []
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file: it is not what floq wrote.")
        rows = []
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:
                self._offset, self._lines = 0, 0
            file.seek(self._offset)
            # One line at a time, so that a file without line ends cannot fill the memory.
            for line in iter(lambda: file.readline(_ROW_BYTES), b""):
                if line.endswith(b"\n") or len(line) == _ROW_BYTES:
                    self._lines += 1
                    rows.append(_parse_row(line, f"{path}, line {self._lines}"))
                    self._offset += len(line)
        return rows


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, as `RowTail.read` has them.

    Raises:
        ValueError: If a line is not a row, or this is no regular file.
    """
    return RowTail(path).read()


def _parse_row(line: bytes, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if type(row["step"]) is not int:
            raise TypeError
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a row with a step: the file is damaged. Remove the line to go on "
            "without it."
        ) from error
    return row


def read_versions(path: Path) -> list[dict[str, Any]]:
    """What `versions.json` of a run says: a record for the start and for each change.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    records = read_json(path / VERSIONS)
    if not (isinstance(records, list) and records and all(type(one) is dict for one in records)):
        raise ValueError(
            f"{path / VERSIONS} is not a list of records: it is damaged. Put back a copy, or "
            "remove the run."
        )
    return records


def refuse_existing(path: Path) -> None:
    """Raises an error if a folder holds a run, is no folder, or cannot be written.

    Raises:
        OSError: If so.
    """
    if (path / CONFIG).exists():
        raise FileExistsError(
            f"{path} already holds a run: continue it with `{command('resume', path)}`, or "
            "give another directory."
        )
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: give a directory for the run.")
    writable(path)


def read_config(path: Path) -> RunConfig:
    """What `config.json` of a run says.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If a setting is unknown, missing or wrong.
    """
    folder = Path(path)
    file = folder / CONFIG
    if not file.exists():
        found = "there is no such folder; a run that has just begun makes it after reading its data"
        if (folder / "policy.json").exists():
            found = "it is an exported policy, for floq.load_policy, `floq serve` and `floq push`"
        elif folder.exists():
            found = f"there is no {CONFIG} in it"
        raise FileNotFoundError(f"{path} holds no run: {found}. Give the folder of a run.")
    return _config_of(read_json(file), str(file))


def config_bytes(config: RunConfig) -> bytes:
    """What `config.json` of a run holds, which has been read back: nothing else is ever written.

    Raises:
        ValueError: If it could not be read back, or as something else.
    """
    content = json_bytes(to_json(config))
    read = _config_of(json.loads(content), "the run")
    for name, value in config._asdict().items():
        again = getattr(read, name)
        if again != value or repr(again) != repr(value):  # 3 equals 3.0.
            raise ValueError(
                f"the run: {name} is {value!r}, which would be read back from {CONFIG} as "
                f"{again!r}: give the latter."
            )
    return content


def _config_of(data: Any, name: str) -> RunConfig:
    if isinstance(data, dict):
        # Runs of former versions do not say these.
        added = ("data", "action_bounds", "reading", "parts", "normalization", "goals")
        data = dict.fromkeys(added) | data
        for field, inner in (("statistics", "observations"), ("reading", "resize")):
            if isinstance(data.get(field), dict):
                data[field] = {inner: None, **data[field]}
    config = from_json(RunConfig, data, name=name)
    try:
        algorithm = find_algorithm(config.algorithm)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    kind = algorithm.Config  # pyright: ignore[reportAttributeAccessIssue]
    settings = from_json(kind, config.config, name=f"{name}: config")
    return config._replace(config=settings)
