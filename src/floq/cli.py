"""The command line: `floq COMMAND …`.

Each command is a frozen dataclass whose fields are its arguments and whose `run` does the work.
Modules are imported when a command needs them, so that `floq --help` answers at once.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from floq.commands.finetune import Finetune
from floq.commands.inspect import Inspect
from floq.commands.presets import Presets
from floq.commands.signals import SAVED, signals_before_training
from floq.commands.study import Study
from floq.commands.sweep import Sweep
from floq.commands.training import HostOptions, OnlineOptions, ScheduleOptions, run_training
from floq.compiled import keep_compiled_programs


def main(arguments: list[str] | None = None) -> int:
    """Runs a command, and gives its exit status.

    0 is success, 1 a check that failed, 2 bad input or a failed command, and 75 a training that
    was interrupted, saved everything and can be resumed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_overview())
        return 0
    if arguments[0] == "--version":
        from floq import __version__

        print(f"floq {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name == "data" and rest and rest[0] in _DATA_COMMANDS:
        name, rest = f"data {rest[0]}", rest[1:]
    if name not in _COMMANDS:
        known = ", ".join(_COMMANDS)
        print(f"floq: no command is called {name!r}. There are {known}.", file=sys.stderr)
        return 2
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    command = _COMMANDS[name]
    if command in _COMPILING:
        keep_compiled_programs()
    try:
        with signals_before_training(name):
            if command is Train:
                parsed = _parse_train(arguments)
            else:
                parsed = tyro.cli(command, args=arguments, prog=f"floq {name}")
            return parsed.run()
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"floq {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"floq {name}: stopped.", file=sys.stderr)
        return 130


def _overview() -> str:
    lines = ["floq: flow-matching Q-functions (arXiv 2509.06863)", "", "usage: floq COMMAND …", ""]
    for name, command in _COMMANDS.items():
        summary = (command.__doc__ or "").split("\n")[0]
        lines.append(f"  {name:14s} {summary}")
    return "\n".join([*lines, "", "`floq COMMAND --help` explains a command."])


@dataclasses.dataclass(frozen=True)
class Train:
    """Train on a task, with the published settings by default.

    Attributes:
        task: Task of OGBench, such as cube-double-play-singletask-v0.
        algorithm: What learns: a method that `floq presets` lists.
        seeds: One or more; they train side by side in one program.
        steps: Updates on the task's data alone; 0 starts in the environment at once.
        online_steps: Steps in the environment, of each seed, that follow.
        online: How it learns there.
        reward_range: Least and greatest reward of a step, which set noise interval and histogram;
            by default those of the data. Needed where none is used.
        directory: New folder of the run; runs/TASK-ALGORITHM by default.
        processes: Processes that step environments; by default one for each core.
        schedule: What happens at which steps.
        together: How processes find each other that train this run together.
        config: Settings of the algorithm; the defaults are the task's.
    """

    task: tyro.conf.Positional[str]
    algorithm: str = "floq"
    seeds: tuple[int, ...] = (0,)
    steps: Annotated[int, tyro.conf.arg(aliases=["--offline-steps"])] = 2_000_000
    online_steps: int = 0
    online: tyro.conf.OmitArgPrefixes[OnlineOptions] = OnlineOptions()
    reward_range: tuple[float, float] | None = None
    directory: Path | None = None
    processes: int | None = None
    schedule: tyro.conf.OmitArgPrefixes[ScheduleOptions] = ScheduleOptions()
    together: tyro.conf.OmitArgPrefixes[HostOptions] = HostOptions()
    config: Any = None

    def run(self) -> int:
        """Trains, and says where everything lies."""
        with self.together.joined():
            return self._train()

    def _train(self) -> int:
        from floq.tasks import load_task
        from floq.training import Schedule, train

        directory = self.directory or Path("runs") / f"{self.task}-{self.algorithm}"
        online = self.online.settings(self.online_steps) if self.online_steps else None
        dataset = None
        if self.steps or online is None or online.buffer != "online":
            dataset, env = load_task(self.task)
            env.close()
        return run_training(
            lambda: train(
                self.config,
                dataset,
                env=self.task,
                seeds=self.seeds,
                steps=self.steps,
                online=online,
                reward_range=self.reward_range,
                directory=directory,
                schedule=Schedule(**dataclasses.asdict(self.schedule)),
                processes=self.processes,
            )
        )


def _parse_train(arguments: list[str]) -> Train:
    """Parses `floq train`, whose defaults depend on its task and algorithm."""
    from floq.experiments.presets import find_preset

    task = next((word for word in arguments if not word.startswith("-")), "")
    algorithm = "floq"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--algorithm":
            algorithm = following
        elif word.startswith("--algorithm="):
            algorithm = word.partition("=")[2]
    # Without a task only help is to be had, or tyro's word that it is missing.
    found = find_preset(algorithm, task or "cube-double-play-singletask-v0")
    fields = [
        (field.name, field.type, field)
        for field in dataclasses.fields(Train)
        if field.name != "config"
    ]
    command = dataclasses.make_dataclass(
        "Train",
        [*fields, ("config", type(found.config), dataclasses.field(default=found.config))],
        bases=(Train,),
        frozen=True,
    )
    command.__doc__ = Train.__doc__
    parsed = tyro.cli(
        command, args=arguments, prog="floq train", config=(tyro.conf.AvoidSubcommands,)
    )
    print(f"Settings: {found.source}.")
    return parsed


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was cut, to the same bits as an uncut one.

    Attributes:
        directory: The run.
        steps: Steps in all, offline and online, if not those that it was started with.
        processes: Processes that step environments; by default one for each core.
        together: How processes find each other that train this run together.
    """

    directory: tyro.conf.Positional[Path]
    steps: int | None = None
    processes: int | None = None
    together: tyro.conf.OmitArgPrefixes[HostOptions] = HostOptions()

    def run(self) -> int:
        """Goes on with the run."""
        from floq.training import resume

        with self.together.joined():
            return run_training(
                lambda: resume(self.directory, steps=self.steps, processes=self.processes)
            )


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluate the policies of a run in its environment.

    Attributes:
        directory: The run.
        episodes: Episodes for each of its seeds.
        seed: Seed of the evaluation: the same one repeats the same episodes.
        bc: Also evaluate behaviour cloning, by the flow policy of the same run.
        integration_steps: Read a flow critic at these numbers of steps K, and print a table of how
            value error and success change with K in place of the lines.
        processes: Processes that step environments; by default one for each core.
    """

    directory: tyro.conf.Positional[Path]
    episodes: int = 50
    seed: int = 0
    bc: bool = False
    integration_steps: tuple[int, ...] = ()
    processes: int | None = None

    def run(self) -> int:
        """Prints a line for each seed and policy."""
        from floq.evaluation import Evaluator
        from floq.training import load_run
        from floq.training.run import make_policy

        run = load_run(self.directory)
        if run.config.environment is None:
            raise ValueError(f"{self.directory} was trained without an environment.")
        if self.integration_steps:
            return self._read_at_steps(run)
        acts = {run.config.algorithm: run.algorithm.act}
        if self.bc:
            behaviour = getattr(run.algorithm, "act_behaviour", None)
            if behaviour is None:
                raise ValueError(f"{run.config.algorithm} has no behaviour policy: leave out --bc.")
            acts["bc"] = behaviour
        with Evaluator(run.config.environment, processes=self.processes) as evaluator:
            for seed in run.config.seeds:
                for name, act in acts.items():
                    policy = make_policy(act, run.config.config, run.state_of(seed))
                    result = evaluator.evaluate(policy, episodes=self.episodes, seed=self.seed)
                    print(f"seed {seed}, {name}: {result}")
        return 0

    def _read_at_steps(self, run: Any) -> int:
        from floq.commands.readings import print_readings

        if self.bc:
            raise ValueError("behaviour cloning has no critic: leave out --bc.")
        print_readings(
            run,
            self.integration_steps,
            episodes=self.episodes,
            seed=self.seed,
            processes=self.processes,
        )
        return 0


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a page of pictures and figures about one or more runs, or about a sweep.

    Attributes:
        directories: The runs; or a sweep's folder, or its table.
        output: The page; it holds everything that it shows.
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")

    def run(self) -> int:
        """Writes the page."""
        from floq.experiments.report import report

        print(f"Wrote {report(self.directories, output=self.output)}")
        return 0


@dataclasses.dataclass(frozen=True)
class Demo:
    """Make data, train on a real task on this CPU, evaluate, and write a report.

    Attributes:
        directory: New folder of the run.
        seeds: Seeds that train side by side.
    """

    directory: Path = Path("runs/demo")
    seeds: tuple[int, ...] = (0, 1, 2, 3)

    def run(self) -> int:
        """Runs the demo; run again, it goes on where it was cut."""
        from floq.experiments.demo import demo
        from floq.training import Interrupted

        try:
            page = demo(self.directory, seeds=self.seeds)
        except Interrupted:
            print("Saved. The same command goes on from here.", file=sys.stderr)
            return SAVED
        print(f"Open {page} in a browser.")
        return 0


@dataclasses.dataclass(frozen=True)
class Generate:
    """Collect a dataset with OGBench's own controllers and settings.

    Attributes:
        name: Dataset, such as cube-double-play-v0.
        episodes: Training trajectories (and a tenth of it for validation); as published by
            default.
        processes: Processes that collect at the same time; they do not change the data.
        seed: Seed of the data.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    name: tyro.conf.Positional[str]
    episodes: int | None = None
    processes: int = 1
    seed: int = 0
    directory: Path | None = None

    def run(self) -> int:
        """Collects the data; run again, it goes on where it was cut."""
        from floq.data.generation import generate
        from floq.data.paths import data_directory

        path = generate(
            self.name,
            episodes=self.episodes,
            processes=self.processes,
            seed=self.seed,
            directory=self.directory or data_directory(),
        )
        print(path)
        return 0


@dataclasses.dataclass(frozen=True)
class Download:
    """Fetch a published dataset; a call that was cut goes on.

    Attributes:
        name: Dataset, such as antmaze-large-navigate-v0.
        mirror: Addresses of folders to try, in turn, in place of the known ones.
        sha256: Expected checksum of the training file, in hexadecimal.
        timeout: Seconds without a byte after which a connection is given up.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    name: tyro.conf.Positional[str]
    mirror: tuple[str, ...] = ()
    sha256: str | None = None
    timeout: float = 30.0
    directory: Path | None = None

    def run(self) -> int:
        """Fetches both files."""
        from floq.data.download import download
        from floq.data.paths import dataset_files

        training, _ = dataset_files(self.name, directory=self.directory)
        files = download(
            self.name,
            directory=self.directory,
            mirrors=self.mirror or None,
            checksums={training.name: self.sha256} if self.sha256 else None,
            timeout=self.timeout,
        )
        print("\n".join(map(str, files)))
        return 0


@dataclasses.dataclass(frozen=True)
class Check:
    """Check everything in a dataset's files, and name the first fault.

    Attributes:
        target: Dataset, task, or the path of one file.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    target: tyro.conf.Positional[str]
    directory: Path | None = None

    def run(self) -> int:
        """Prints a line a file; 1 if one has a fault."""
        from floq.data.info import check

        faults = check(self.target, directory=self.directory)
        for path, fault in faults.items():
            print(f"FAULT  {fault}" if fault else f"sound  {path}")
        return 1 if any(faults.values()) else 0


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a dataset's files hold.

    Attributes:
        target: Dataset, task, or the path of one file.
        directory: Folder of the files; $FLOQ_DATA or ~/.ogbench/data by default.
    """

    target: tyro.conf.Positional[str]
    directory: Path | None = None

    def run(self) -> int:
        """Prints a table a file."""
        from floq.data.info import describe

        for path, facts in describe(self.target, directory=self.directory).items():
            print(path)
            for name, value in facts.items():
                print(f"  {name:26s} {value}")
        return 0


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check versions, device, rendering and data folder, and say how to mend what is wrong."""

    def run(self) -> int:
        """Prints a line a finding; 1 if something fails."""
        from floq.doctor import diagnose

        findings = diagnose()
        for finding in findings:
            print(f"{finding.status:4s}  {finding.name}: {finding.message}")
            if finding.remedy:
                print(f"      {finding.remedy}")
        return 1 if any(finding.status == "fail" for finding in findings) else 0


_DATA_COMMANDS = {"generate": Generate, "download": Download, "check": Check, "info": Info}
_COMMANDS: dict[str, Any] = {
    "demo": Demo,
    "presets": Presets,
    "train": Train,
    "finetune": Finetune,
    "resume": Resume,
    "evaluate": Evaluate,
    "report": Report,
    "inspect": Inspect,
    "study": Study,
    "sweep": Sweep,
    **{f"data {name}": command for name, command in _DATA_COMMANDS.items()},
    "doctor": Doctor,
}
_COMPILING = {Demo, Train, Finetune, Resume, Evaluate, Report, Inspect, Study, Sweep}


if __name__ == "__main__":
    sys.exit(main())
