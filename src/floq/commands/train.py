"""`floq train`: a run on a task, with the settings of a method for it."""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from floq.commands.arguments import parse, split
from floq.commands.training import (
    EnvironmentOptions,
    HostOptions,
    LoggerName,
    OnlineOptions,
    Sources,
    data_file,
    online_options,
    online_settings,
    say_done,
)
from floq.data.goals import Goals
from floq.data.reading import Reading
from floq.runs.settings import Schedule
from floq.streams import say

_EXAMPLE = "cube-double-play-singletask-v0"
_NO_TASK = (
    f"no task is given: name one, as in `floq train {_EXAMPLE}`, or give data of your own by "
    "--data; without any, training begins in an environment, by --env, --steps 0, --online-steps "
    "and --buffer online. `floq presets` lists the data sets that have tasks with published "
    "settings."
)


@dataclasses.dataclass(frozen=True)
class Train:
    """Train on a task, with the published settings by default.

    Attributes:
        task: Task of OGBench, such as cube-double-play-singletask-v0, or with --goals a dataset,
            such as cube-double-play-v0; none with --data, or where --env is all there is.
        data: Data of your own in place of a task's: a path, minari:NAME, d4rl:PATH, robomimic:PATH
            or lerobot:PATH; given again, sets are joined.
        reading: How it is read where its files leave that open.
        device_memory: What the data may take on the device, such as 8GB: if it is larger, parts of
            it take turns there; auto is what fits.
        where: Where the policy is evaluated, and trains online: the task's environment, or with
            --data by default none.
        algorithm: What learns: a method that `floq presets` lists. Published sizes want a GPU: two
            cores of a CPU make about one update of floq a second. floq-small is for a CPU.
        seeds: One or more; they train side by side in one program.
        steps: Updates on the task's data alone; 0 starts in the environment at once.
        online_steps: Steps in the environment, of each seed, that follow.
        online: How it learns there.
        goals: Learn to reach goals, drawn from the data, in place of its rewards.
        goal_settings: Where the goals come from; by default as in OGBench.
        reward: The task's own rewards, or sparse: -1 until it is solved and 0 then, in data and
            environment alike, as arXiv 2507.07969 has scene and puzzle. Beside --data and --env,
            --rewards success is what has both rewarded by success alone.
        reward_range: Least and greatest reward of a step, which set noise interval and histogram;
            by default those of the data. Needed where none is used.
        normalize_observations: Have networks read observations less the data's mean, over its
            deviation; of a dictionary, its vectors.
        directory: New folder of the run; runs/TASK-ALGORITHM by default, or the data file's name
            in place of the task.
        processes: Processes that step environments; by default one for each core.
        logger: Where else the rows of the run are shown: tensorboard, wandb, or both.
        schedule: What happens at which steps.
        together: How processes find each other that train this run together.
        config: Settings of the algorithm; the defaults are the task's.
    """

    task: tyro.conf.Positional[str] = ""
    algorithm: str = "floq"
    data: Sources = ()
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    device_memory: str = "auto"
    where: tyro.conf.OmitArgPrefixes[EnvironmentOptions] = EnvironmentOptions()
    seeds: tuple[int, ...] = (0,)
    steps: Annotated[int, tyro.conf.arg(aliases=["--offline-steps"])] = 2_000_000
    online_steps: int = 0
    online: OnlineOptions = online_options()  # pyright: ignore[reportInvalidTypeForm]
    goals: bool = False
    goal_settings: tyro.conf.OmitArgPrefixes[Goals] = Goals()
    reward: Literal["dense", "sparse"] = "dense"
    reward_range: tuple[float, float] | None = None
    normalize_observations: bool = False
    directory: Path | None = None
    processes: int | None = None
    logger: tuple[LoggerName, ...] = ()
    schedule: tyro.conf.OmitArgPrefixes[Schedule] = Schedule()
    together: tyro.conf.OmitArgPrefixes[HostOptions] = HostOptions()
    config: Any = None

    def run(self) -> int:
        """Trains, and says where everything lies."""
        from floq.envs.make import with_arguments
        from floq.tasks import load_task
        from floq.training import train
        from floq.training.sources import why_in_memory

        if self.task and self.data:
            raise ValueError(
                f"{self.task} is a task with data of its own: leave it out beside --data, and name "
                "the environment by --env."
            )
        if self.goal_settings != Goals() and not self.goals:
            raise ValueError("settings of goals are given, and no goals are drawn: give --goals.")
        goals = self.goal_settings if self.goals else None
        spec = self.where.spec(self.task or None)
        if spec is None:
            _say_idle(self.schedule)
        if self.reward == "sparse":
            if not self.task or self.where.env or self.goals:
                raise ValueError(
                    "--reward sparse is for a task's own data and environment: leave it out beside "
                    "--data and --env, which --rewards success has rewarded by success alone, and "
                    "beside --goals, whose rewards are sparse."
                )
            assert spec is not None
            spec = with_arguments(spec, reward="sparse")
        # Without a task and data it is called as the environment is.
        source = self.data[0] if self.data else self.where.env or ""
        name = self.task or Path(source.rpartition(":")[2]).stem
        online = online_settings(self.online, self.online_steps) if self.online_steps else None
        with self.together.joined():
            memory = self.device_memory
            in_memory = why_in_memory(online, goals)
            dataset = data_file(self.data, self.reading, self.where.bounds, device_memory=memory)
            needs_data = self.steps or online is None or online.buffer != "online"
            if needs_data and dataset is None:
                if not self.task:
                    raise ValueError(_NO_TASK)
                memory = None if in_memory and memory == "auto" else memory
                dataset, env = load_task(
                    self.task, reward=self.reward, goals=goals, device_memory=memory
                )
                env.close()
            run = train(
                self.config,
                dataset,
                env=spec,
                task=self.task or None,
                seeds=self.seeds,
                steps=self.steps,
                online=online,
                goals=goals,
                reward_range=self.reward_range,
                normalize_observations=self.normalize_observations,
                directory=self.directory or Path("runs") / f"{name}-{self.algorithm}",
                schedule=self.schedule,
                processes=self.processes,
                loggers=self.logger,
            )
            return say_done(run, loggers=self.logger)


def _say_idle(schedule: Schedule) -> None:
    """Says which options nothing comes of where there is no environment to evaluate in."""
    usual = vars(Schedule())
    changed = [name for name, value in vars(schedule).items() if value != usual[name]]
    names = [f"--{name.replace('_', '-')}" for name in changed if name.startswith("evaluation")]
    if names:
        say(f"Nothing comes of {' and '.join(names)}: no environment is given, by --env.")


def parse_train(arguments: list[str]) -> Train:
    """Parses `floq train`, whose defaults depend on its task and algorithm.

    Raises:
        ValueError: If there is no task, or no such task or algorithm.
    """
    from floq.presets.methods import find_preset
    from floq.tasks import check_task

    algorithm = "floq"
    for word, following in itertools.pairwise([*arguments, "--"]):
        name, equals, value = word.partition("=")
        if name == "--algorithm" and (equals or not following.startswith("-")):
            algorithm = value if equals else following
    # Which options there are depends on the algorithm alone.
    words = split(_with_config(find_preset(algorithm, _EXAMPLE).config), arguments)
    task = _EXAMPLE
    if words.positionals and not words.unknown:
        task = words.positionals[0]
        check_task(task, has_goals="--goals" in words.options)
    elif any(word.partition("=")[0] in ("--data", "--env") for word in words.options):
        task = None
    elif not words.unknown and not {"-h", "--help"} & {*words.options}:
        raise ValueError(_NO_TASK)
    found = find_preset(algorithm, task)
    parsed = parse(_with_config(found.config), arguments, name="train")
    say(f"Settings: {found.source}.")
    return parsed


def _with_config(config: Any) -> type[Train]:
    """The command with an algorithm's settings among its options."""
    fields: list[Any] = [
        (field.name, field.type, field)
        for field in dataclasses.fields(Train)
        if field.name != "config"
    ]
    command = dataclasses.make_dataclass(
        "Train",
        [*fields, ("config", type(config), dataclasses.field(default=config))],
        bases=(Train,),
        frozen=True,
    )
    command.__doc__ = Train.__doc__
    return command
