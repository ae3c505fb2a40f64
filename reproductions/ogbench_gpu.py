"""floq beside FQL on OGBench, on a GPU, in calls of ten minutes: `ogbench_gpu.sh` starts it.

    python -m reproductions.ogbench_gpu --minutes 9

Each call goes on where the last one stopped, and ends with tables, curves and a summary of all that
is done so far. reproductions/README.md says how to run it on a machine without a network.
"""

import dataclasses
import fnmatch
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from floq.presets.methods import DOMAINS
from reproductions.calls import Launch, work_through
from reproductions.jobs import Data, Job, Settings, Training
from reproductions.page import write_page
from reproductions.summary import done_elsewhere, summarise

_METHODS = ("floq", "fql")
_INTEGRATION_STEPS = (1, 4, 16)
"""The preset's K = 8 is the run of floq itself."""


def _task(dataset: str, number: int) -> str:
    return f"{dataset.removesuffix('-v0')}-singletask-task{number}-v0"


def _jobs() -> tuple[Job, ...]:
    """The default task of cube-double first, then its others, then K, then the other datasets."""
    first, *others = ("cube-double-play-v0", "puzzle-3x3-play-v0", "scene-play-v0")
    default = _task(first, DOMAINS[first].default_task)
    jobs: list[Job] = [Data(first), *_both(first)]
    jobs += [Training(default, "floq", steps) for steps in _INTEGRATION_STEPS]
    for dataset in others:
        jobs += [Data(dataset), *_both(dataset)]
    return tuple(jobs)


def _both(dataset: str) -> list[Training]:
    """Both methods on all five tasks of a dataset, the default task first."""
    default = DOMAINS[dataset].default_task
    numbers = [default, *(number for number in range(1, 6) if number != default)]
    return [Training(_task(dataset, number), method) for number in numbers for method in _METHODS]


JOBS = _jobs()
"""Everything, the most telling first."""
SMALL_JOBS = (*JOBS[:3], Training(_task("cube-double-play-v0", 2), "floq", 1))
"""One of each kind."""
_SMALL = Settings(
    Path("runs/ogbench-gpu-small"),
    seeds=(0, 1),
    updates=40,
    episodes=4,
    evaluation_episodes=2,
    evaluation_interval=20,
    small=True,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Train floq and FQL on OGBench and put their success beside the published figures.

    What is left out has its usual value, or a tiny one with --small.

    Attributes:
        minutes: Time of this call, after which it saves, writes its results and ends. Writing
            takes up to a minute beside it.
        jobs: Names of the jobs to do, in the list's order; * stands for any letters. All by
            default.
        list: Whether to print the names of the jobs, and do nothing.
        updates: Updates of each seed; 1,000,000.
        seeds: Seeds of each run, which train side by side; 0 1 2.
        episodes: Trajectories of each dataset; 1,000.
        evaluation_episodes: Episodes of an evaluation, for each seed; 50.
        evaluation_interval: Updates between evaluations; 100,000.
        precision: Precision of matrix products, in JAX's words; tensorfloat32 on a GPU.
        small: Tiny networks, few updates and one job of each kind, to try it on a CPU.
        directory: Folder of data and runs; runs/ogbench-gpu.
        results: Folder of tables, curves and summary; docs/results/ogbench-gpu, with --small
            a folder in the directory.
    """

    minutes: float = 9.0
    jobs: tuple[str, ...] = ()
    list: bool = False
    updates: int | None = None
    seeds: tuple[int, ...] | None = None
    episodes: int | None = None
    evaluation_episodes: int | None = None
    evaluation_interval: int | None = None
    precision: str | None = None
    small: bool = False
    directory: Path | None = None
    results: Path | None = None

    def settings(self) -> Settings:
        """What the jobs share."""
        usual = _SMALL if self.small else Settings(Path("runs/ogbench-gpu"))
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(Settings)
            if field.name not in ("small",) and getattr(self, field.name) is not None
        }
        return dataclasses.replace(usual, **given)

    def folder(self) -> Path:
        """Where the results go."""
        if self.results is None and self.small:
            return self.settings().directory / "results"
        return self.results or Path("docs/results/ogbench-gpu")


def select(jobs: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    """The jobs whose names match one of the patterns; all without any.

    Raises:
        ValueError: If a pattern matches none.
    """
    names = [job.name for job in jobs]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(f"no job is called {pattern!r}: there are {', '.join(names)}.")
    wanted = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
    return [job for job in jobs if not patterns or job.name in wanted]


def command_of(arguments: Sequence[str]) -> str:
    """What was typed, without folders: they change no figure, and are those of one machine."""
    kept, skip = [], False
    for word in arguments:
        if not skip and word.split("=")[0] not in ("--directory", "--results"):
            kept.append(word)
        skip = not skip and word in ("--directory", "--results")
    return shlex.join(["python", "-m", "reproductions.ogbench_gpu", *kept])


def main(
    arguments: Sequence[str] | None = None,
    *,
    jobs: Sequence[Job] | None = None,
    launch: Launch | None = None,
) -> int:
    """One call.

    Args:
        arguments: Words of the command line.
        jobs: The list to work through, in place of the usual one.
        launch: What does one job; a process of its own by default.

    Returns:
        0 if all is done, 75 if the same call would go on, 1 if a job failed, 2 for bad input.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = tyro.cli(Options, args=arguments, prog="python -m reproductions.ogbench_gpu")
    known = jobs or (SMALL_JOBS if options.small else JOBS)
    if options.list:
        print("\n".join(job.name for job in known))
        return 0
    settings, folder = options.settings(), options.folder()

    def write_results() -> None:
        write_page(folder, *summarise(known, settings, folder))

    try:
        status = work_through(
            select(known, options.jobs),
            settings,
            seconds=60 * options.minutes,
            command=command_of(arguments),
            skip=done_elsewhere(settings, folder),
            launch=launch,
            after_each=write_results,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    write_results()
    print(f"{folder / 'table.md'} has the results.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
