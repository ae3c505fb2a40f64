"""What the commands that train have in common."""

import contextlib
import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from floq.data.reading import Reading
from floq.plugins import command
from floq.runs.settings import Online
from floq.shell import quoted

if TYPE_CHECKING:
    from floq.envs.make import EnvironmentSpec
    from floq.envs.preflight import Bounds
    from floq.training import Run
    from floq.training.sources import DataFile


LoggerName = Literal["tensorboard", "wandb"]
"""`floq.loggers.LOGGERS`, which the command line must know before anything is imported."""


@dataclasses.dataclass(frozen=True)
class HostOptions:
    """How the processes that train one run together find each other.

    Attributes:
        coordinator: Address HOST:PORT where host 0 listens for the others; the same for all. Give
            auto on a cluster whose scheduler knows all three, such as SLURM.
        hosts: Processes in all.
        host: Number of this one, from 0.
    """

    coordinator: str | None = None
    hosts: int | None = None
    host: int | None = None

    def joined(self) -> AbstractContextManager[None]:
        """Joins the others, if there are any, for as long as the context lasts.

        Raises:
            ValueError: If numbers are given without the coordinator, or are wrong.
        """
        if self.coordinator is None:
            if (self.hosts, self.host) != (None, None):
                raise ValueError(
                    f"hosts is {self.hosts} and host is {self.host}, but there is no coordinator: "
                    "give --coordinator HOST:PORT, the same for all processes."
                )
            return contextlib.nullcontext()
        from floq.training.hosts import joined

        return joined(self.coordinator, hosts=self.hosts, host=self.host)


@dataclasses.dataclass(frozen=True)
class BoundsOptions:
    """What the data's actions lie within.

    Attributes:
        action_low: What -1 stands for in the data's actions, in the environment's own units: one
            number, or one for each entry. Needed where the data file does not say.
        action_high: What 1 stands for.
    """

    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()

    @property
    def bounds(self) -> "Bounds | None":
        """What -1 and 1 stand for; None if that is not said.

        Raises:
            ValueError: If one bound is given alone.
        """
        if bool(self.action_low) != bool(self.action_high):
            raise ValueError("give --action-low and --action-high together.")
        return (self.action_low, self.action_high) if self.action_low else None


@dataclasses.dataclass(frozen=True)
class EnvironmentOptions(BoundsOptions):
    """Which environment, where it is not the task's or the run's.

    Attributes:
        env: A gymnasium id, MODULE:ID where importing the module registers the id, or MODULE:MAKE,
            a function there that returns the environment.
        scaled_actions: Say that the data's actions were scaled from the environment's bounds to
            [-1, 1] already.
        max_episode_steps: Another time limit than the environment's own.
    """

    env: str | None = None
    scaled_actions: bool = False
    max_episode_steps: int | None = None

    def spec(self, default: str | None = None) -> "EnvironmentSpec | None":
        """The environment; None if none is named.

        Args:
            default: Its name if there is no other.

        Raises:
            ValueError: If it is unknown, or options do not go together.
        """
        from floq.envs.make import spec_of, with_arguments

        if self.scaled_actions and self.bounds is not None:
            raise ValueError(
                "--scaled-actions is given beside --action-low and --action-high: the first is for "
                "actions in [-1, 1], the others for actions in the environment's units."
            )
        name = self.env or default
        if name is None:
            if self.scaled_actions or self.max_episode_steps is not None:
                raise ValueError(
                    "--scaled-actions and --max-episode-steps speak of an environment: give --env."
                )
            return None
        spec = spec_of(name)
        if self.scaled_actions:
            spec = with_arguments(spec, rescale_actions=[-1.0, 1.0])
        if self.max_episode_steps is not None:
            spec = with_arguments(spec, max_episode_steps=self.max_episode_steps)
        return spec


_ONLINE: Any = dataclasses.make_dataclass(
    "Online",
    # How many steps there are is an option of each command.
    [
        (field.name, field.type, field)
        for field in dataclasses.fields(Online)
        if field.name != "steps"
    ],
    frozen=True,
)
_ONLINE.__doc__ = Online.__doc__
OnlineOptions: Any = tyro.conf.OmitArgPrefixes[_ONLINE]
"""`Online` without its steps, as a field of a command."""


def online_options() -> Any:
    """The defaults of `OnlineOptions`."""
    return _ONLINE()


def online_settings(options: Any, steps: int) -> Online:
    """The settings of so many environment steps."""
    return Online(steps=steps, **dataclasses.asdict(options))


Sources = tyro.conf.UseAppendAction[tuple[str, ...]]
"""Sources of data, each as a `--data` of its own."""


def data_file(
    sources: tuple[str, ...],
    reading: Reading,
    bounds: "Bounds | None",
    *,
    device_memory: str = "auto",
) -> "DataFile | None":
    """The data that options name, and what they say of it.

    Raises:
        ValueError: If something is said of data, and there is none.
    """
    from floq.training.sources import DataFile

    if not sources:
        names = [f"--{name.replace('_', '-')}" for name in reading.said]
        if bounds is not None:
            names = ["--action-low", "--action-high", *names]
        if names:
            verb = "speak" if len(names) > 1 else "speaks"
            raise ValueError(f"{' and '.join(names)} {verb} of a data file: give --data.")
        return None
    return DataFile(sources, bounds, reading, device_memory)


def in_environment(run: "Run", where: EnvironmentOptions, *, processes: int | None) -> "Run":
    """The run in the environment that options name, or in its own.

    Raises:
        ValueError: If it does not fit what the run has learned.
    """
    from floq.training.preparation import with_environment

    spec = where.spec()
    if spec is None:
        return run
    config = with_environment(run.config, spec, bounds=where.bounds, processes=processes)
    return dataclasses.replace(run, config=config)


def say_done(run: "Run", *, loggers: Sequence[str]) -> int:
    """Says what has come of a run, in the process that wrote it. Gives the exit status.

    Args:
        run: It, finished.
        loggers: The names of those that were told of it.
    """
    from floq.runs.results import results
    from floq.training.hosts import is_first

    if is_first():
        for policy, found in results(run).items():
            figure, mean = found[-1].figure, found[-1].interval.mean
            print(f"{policy}: {figure} {mean:,.2f} at step {found[-1].step:,}")
        say_logged(run.directory, loggers)
        print(f"{run.directory}: {run.step:,} steps are done. Look at them with")
        print(f"  {command('report', run.directory)}")
    return 0


def say_logged(directory: Path, loggers: Sequence[str]) -> None:
    """Says where loggers keep a run, and how to look at it there."""
    for name in loggers:
        print(f"The files of {name} are in {directory / name}.")
        if name == "tensorboard":
            print(f"  {quoted(name, '--logdir', directory / name)}")
