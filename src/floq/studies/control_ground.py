"""Studies on the control ground: policies that are trained on a task and carried out."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from floq.algorithms import algorithm_of, floq, fql
from floq.compute import count_parameters, update_flops
from floq.critics import FlowCriticConfig
from floq.presets import demo
from floq.presets.changes import small, with_networks
from floq.presets.methods import preset
from floq.runs.results import timing
from floq.settings import to_json
from floq.studies import altered
from floq.studies.cells import folder_name
from floq.studies.distilled import DistilledCriticConfig
from floq.studies.study import SMALL_BINS, Base, Size, Study, Variant
from floq.studies.value_program import Training
from floq.tasks import load_task, require_task
from floq.training import Schedule, resume, train
from floq.types import Statistics
from floq.workers import available_cores

_FULL_STEPS = 1_000_000
# The demo's former settings, with which all tables of studies were made: half the work an update.
MAZE = dataclasses.replace(
    small(demo.CONFIG),
    critic=dataclasses.replace(small(demo.CONFIG.critic), members=2),
    batch_size=128,
    target_candidates=8,
)


def _small_form(task: str) -> tuple[floq.Config, int]:
    """Settings and updates for a CPU, found for floq on tasks 1 of the maze and 2 of the cube."""
    if not task.startswith("cube"):
        return MAZE, demo.STEPS
    # An arm takes finer actions than a walk, and a wider network to clone them.
    config = dataclasses.replace(
        MAZE,
        action_chunk=5,
        candidates=8,
        target_candidates=4,
        discount=0.99,
        learning_rate=1e-3,
        target_rate=0.02,
    )
    return small(config, width=128), 20_000


class ControlGround:
    """Where policies succeed or fail: a rate of episodes, so more is better.

    A flow critic is trained by floq, any other by FQL with the same policy and settings. Where
    floq's two critics are the variant, all networks multiply in the flow's precision. Small, the
    settings are `MAZE`, or cube-single's; full, they are the task's published ones.
    """

    figure = "success"
    default_seeds: tuple[int, ...] = (0, 1, 2)

    def __init__(self, size: Size, task: str, *, updates: int | None = None):
        """Prepares the ground.

        Args:
            size: Small, for a CPU, or full, for an accelerator.
            task: The task, whose data must be there.
            updates: Updates of every variant, if not those of the size.
        """
        self._task = task
        if size == "small":
            self._config, steps = _small_form(task)
        else:
            self._config, steps = preset("floq", task), _FULL_STEPS
        self._steps = updates or steps
        self._episodes = 25 if size == "small" else 50
        self._small = size == "small"

    @property
    def processes(self) -> int:
        """One for each core of a CPU: a small network's products use a single one best."""
        return available_cores() if jax.default_backend() == "cpu" else 1

    def check(self) -> None:
        """Refuses a task that is none or has no data here."""
        require_task(self._task)

    def variants(self, study: Study) -> list[Variant]:
        """The study's variants, in the sizes of the task's settings."""
        config = self._config
        training = Training(action_chunk=config.action_chunk, n_step=config.n_step)
        if self._small:
            brief = Base(
                config.critic,
                training,
                steps=(4,),
                # Nearest to what the flow costs, where all else in an update is counted too.
                blocks=(3,),
                multiples=(4,),
                ensembles=(3,),
                levels=3,
                bins=SMALL_BINS,
                n_steps=(2,),
                action_chunks=(1,),
                target_noises=(20.0,),
                brief=True,
            )
            return self._distinct(study.variants(brief))
        base = Base(config.critic, training, action_chunks=(5, 10), target_noises=(20.0, 60.0))
        return self._distinct(study.variants(base))

    def _distinct(self, variants: Sequence[Variant]) -> list[Variant]:
        """Those that differ in what is trained here, where no data arrive in the course of it.

        Of several that differ in readings alone, the first gives the name and the last its place.
        """
        kept: dict[str, Variant] = {}
        for variant in variants:
            if not variant.training.stream:
                settings = json.dumps(self.settings(variant))
                name = kept.get(settings, variant).name
                kept[settings] = dataclasses.replace(variant, name=name)
        return list(kept.values())

    def updates(self, variant: Variant) -> int:
        """Updates of each seed."""
        return self._steps

    def config(self, variant: Variant) -> Any:
        """The algorithm's config with a variant's critic."""
        decay = self._steps if self._config.learning_rate_decay else 0
        config = dataclasses.replace(
            self._config,
            learning_rate_decay=decay,
            action_chunk=variant.training.action_chunk,
            n_step=variant.training.n_step,
        )
        config = self._with_critic(config, variant)
        training = variant.training
        freeze_after = round(training.freeze_at * self._steps) if training.freeze_at < 1 else 0
        changes = training.target_noise, training.updates_per_target, freeze_after
        return config if changes == (0, 1, 0) else altered.Config(config, *changes)

    def _with_critic(self, config: floq.Config, variant: Variant) -> floq.Config | fql.Config:
        critic = variant.critic
        if isinstance(critic, DistilledCriticConfig):
            config = with_networks(config, precision=critic.flow.network.precision)
            coarse = round(variant.training.coarse_until * self._steps)
            return dataclasses.replace(critic.within(config), coarse_updates=coarse)
        if isinstance(critic, FlowCriticConfig):
            return dataclasses.replace(config, critic=critic)
        shared = {field.name for field in dataclasses.fields(fql.Config)}
        settings: dict[str, Any] = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(floq.Config)
            if field.name in shared
        }
        settings["critic"] = critic
        return fql.Config(**settings)

    def settings(self, variant: Variant) -> Any:
        """Everything that determines a variant's figures, as JSON."""
        config = self.config(variant)
        return {
            "algorithm": algorithm_of(config)[0],
            "config": to_json(config),
            "critic": type(variant.critic).__name__,
            "task": self._task,
            "steps": self._steps,
            "episodes": self._episodes,
        }

    def run(
        self, variant: Variant, seeds: Sequence[int], directory: Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Trains all seeds side by side, and gives each one's success at the last step.

        A training that was cut goes on from its newest checkpoint.
        """
        dataset, env = load_task(self._task)
        env.close()
        names = "-".join(map(str, seeds))
        path = directory / "runs" / f"{folder_name(variant.name)}-seeds-{names}"
        config = self.config(variant)
        again = variant.training.updates_per_target
        steps = max(1, self._steps // again)
        if (path / "config.json").exists():
            run = resume(path, dataset=dataset, progress=False)
        else:
            schedule = Schedule(
                log_interval=max(1, steps // 10),
                # Policies that fail play the longest episodes: small, they do so but once.
                evaluation_interval=steps if self._small else max(1, steps // 2),
                evaluation_episodes=self._episodes,
                checkpoint_interval=max(1, steps // 2),
            )
            run = train(
                config,
                dataset,
                env=self._task,
                seeds=seeds,
                steps=steps,
                directory=path,
                schedule=schedule,
                progress=False,
            )
        parameters = count_parameters(run.state_of(seeds[0]).parameters)
        flops = self._flops(config, run.config.statistics) / again
        _, rate = timing(run)
        for seed in seeds:
            own = [row for row in run.evaluations if row["seed"] == seed and row["policy"] != "bc"]
            yield (
                seed,
                {
                    "steps": [row["step"] for row in own],
                    "figures": {"success": [row["success"] for row in own]},
                    "episodes": self._episodes,
                    "parameters": parameters,
                    "flops": flops,
                    "seconds": 1 / (rate * len(seeds) * again) if rate else 0.0,
                },
            )

    def _flops(self, config: Any, statistics: Statistics) -> float:
        """Floating-point operations of an update, in the mean over training."""
        flops = update_flops(config, statistics)
        if not isinstance(config, floq.Config) or not config.coarse_updates:
            return flops
        steps = config.critic.integration_steps
        coarse = dataclasses.replace(
            config,
            critic=dataclasses.replace(config.critic, integration_steps=1),
            distillation_steps=config.distillation_steps or steps,
        )
        share = config.coarse_updates / self._steps
        return share * update_flops(coarse, statistics) + (1 - share) * flops
