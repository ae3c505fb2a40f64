"""Data of one's own in a sweep, under a name that stands among its tasks."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from floq.data.bounds import ActionBounds, action_bounds
from floq.data.formats import as_sources, find_source, read_source, source_arguments
from floq.data.paths import dataset_name
from floq.data.reading import Reading
from floq.envs.make import spec_of
from floq.envs.preflight import preflight
from floq.observations import packed
from floq.runs.directory import RunConfig
from floq.sweeps.settings import check_label, read_part
from floq.tasks import task_names
from floq.training.preparation import with_successes
from floq.training.sources import DataFile

_BOUNDS = "meaning of actions -1 and 1"


@dataclasses.dataclass(frozen=True)
class OwnData:
    """Files of data, and what they are trained for.

    Attributes:
        source: The files, as a run notes them.
        env: The name of the environment in which policies are evaluated; None evaluates none.
        reading: How the files are read where they leave that open.
        bounds: What -1 and 1 stand for in the actions, where the files do not say.
        normalize_observations: Whether networks read normalised observations.
    """

    source: tuple[str, ...]
    env: str | None
    reading: Reading
    bounds: ActionBounds | None
    normalize_observations: bool

    @property
    def file(self) -> DataFile:
        """The data, as `floq.train` takes it."""
        return DataFile(self.source, self.bounds, self.reading)

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation and of an action.

        Raises:
            ValueError: If a file is not sound.
        """
        return _read(self)[0]

    def check(self, name: str) -> None:
        """Reads the files and tries the environment, before anything starts.

        Args:
            name: What the data is called in errors.

        Raises:
            ValueError: If a file is not sound, or the environment is not that of the data.
        """
        with _named(name):
            sizes, bounds = _read(self)
            if self.env is not None:
                spec = with_successes(spec_of(self.env), self.reading, None)
                preflight(spec, sizes=sizes, bounds=bounds, in_worker=False)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells runs on this data from others."""
        return {
            "data": self.source,
            "env": self.env,
            "reading": self.reading,
            "normalize_observations": self.normalize_observations,
            **self._bounds,
        }

    def identity_of(self, run: RunConfig) -> dict[str, Any]:
        """The same of a run that is there."""
        found = run.action_bounds and ActionBounds(*run.action_bounds)
        is_same = self.bounds is None or (found is not None and found.equals(self.bounds))
        return {
            "data": (run.data,) if isinstance(run.data, str) else run.data,
            "env": run.environment and run.environment.id,
            "reading": run.reading or Reading(),
            "normalize_observations": run.normalization is not None,
            **(self._bounds if is_same else {_BOUNDS: found}),
        }

    @property
    def _bounds(self) -> dict[str, ActionBounds]:
        # Where the spec leaves them open they are the files', and follow from these.
        return {} if self.bounds is None else {_BOUNDS: self.bounds}


@dataclasses.dataclass(frozen=True)
class _Table:
    """The keys of a table `[data.NAME]`."""

    source: str | tuple[str, ...]
    env: str | None = None
    reading: Any = dataclasses.field(default_factory=dict)
    action_low: float | tuple[float, ...] | None = None
    action_high: float | tuple[float, ...] | None = None
    normalize_observations: bool = False


def read_own_data(label: str, given: Any, name: str) -> OwnData:
    """Data of one's own from its table.

    Args:
        label: What stands among the tasks.
        given: The table.
        name: What it is called in errors.

    Raises:
        FileNotFoundError: If there is nothing at a source's place.
        ValueError: If a key or a value cannot be.
    """
    check_label(label, name)
    if label in {*task_names(), *map(dataset_name, task_names())}:
        raise ValueError(f"{name} is called as one of floq's tasks or their data: rename it.")
    table = read_part(_Table, given, name)
    reading = read_part(Reading, table.reading, f"{name}.reading")
    bounds = action_bounds(table.action_low, table.action_high, None, source=name)
    with _named(f"{name}.source"):
        sources = tuple(one.noted for one in as_sources(table.source))
    with _named(f"{name}.env"):
        env = None if table.env is None else spec_of(table.env).id
    return OwnData(sources, env, reading, bounds, table.normalize_observations)


@functools.cache
def _read(own: OwnData) -> tuple[tuple[int, int], ActionBounds | None]:
    """The sizes of the data, and what is known of the bounds of its actions."""
    found = []
    for source in own.source:
        where = find_source(source)
        file = read_source(where, own.reading)
        arrays, _ = source_arguments(file, where.path, own.reading, given=own.bounds)
        rows, form = packed(arrays["observations"], source=str(source))
        shapes = [form or rows.shape[1:], arrays["actions"].shape[1:]]
        if form is not None or any(len(shape) != 1 for shape in shapes):
            raise ValueError(
                f"{source}: an observation is {form or f'of shape {shapes[0]}'}, and an action of "
                f"shape {shapes[1]}: both must be vectors"
            )
        sizes, bounds = (shapes[0][0], shapes[1][0]), file.bounds or own.bounds
        found.append((sizes, bounds and bounds.each(sizes[1], source=source)))
    if len({sizes for sizes, _ in found}) > 1:
        pairs = zip(own.source, found, strict=True)
        each = "; ".join(f"{source} {sizes}" for source, (sizes, _) in pairs)
        raise ValueError(f"entries of observations and actions differ: {each}. Join what is alike.")
    return found[0]


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Says of which part of a spec an error is."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
