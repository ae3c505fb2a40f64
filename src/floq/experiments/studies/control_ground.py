"""Studies on the control ground: policies that are trained on a task and carried out."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from floq.algorithms import algorithm_of, floq, fql
from floq.critics import FlowCriticConfig
from floq.experiments import demo
from floq.experiments.compute import count_parameters, update_flops
from floq.experiments.presets import preset, with_networks
from floq.experiments.results import timing
from floq.experiments.studies.cells import folder_name
from floq.experiments.studies.distilled import DistilledCriticConfig
from floq.experiments.studies.study import Base, Size, Study, Variant
from floq.tasks import load_task
from floq.training import Schedule, resume, train
from floq.training.configuration import to_json

_SMALL_STEPS, _FULL_STEPS = 5_000, 1_000_000


class ControlGround:
    """Where policies succeed or fail: a rate of episodes, so more is better.

    A flow critic is trained by floq, any other by FQL with the same policy and settings. Where
    floq's two critics are the variant, all networks multiply in the flow's precision. Small, the
    settings are those of the demo (`floq.experiments.demo`), for fewer updates; full, they are the
    task's published ones.
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
        self._config = demo.CONFIG if size == "small" else preset("floq", task)
        self._steps = updates or (_SMALL_STEPS if size == "small" else _FULL_STEPS)
        self._episodes = 25 if size == "small" else 50
        self._multiples = (1, 4) if size == "small" else (1, 2, 4, 8)

    def variants(self, study: Study) -> list[Variant]:
        """The study's variants, in the sizes of the task's settings."""
        return study.variants(Base(self._config.critic, multiples=self._multiples))

    def updates(self, variant: Variant) -> int:
        """Updates of each seed."""
        return self._steps

    def config(self, variant: Variant) -> Any:
        """The algorithm's config with a variant's critic."""
        decay = self._steps if self._config.learning_rate_decay else 0
        config = dataclasses.replace(self._config, learning_rate_decay=decay)
        critic = variant.critic
        if isinstance(critic, DistilledCriticConfig):
            config = with_networks(config, precision=critic.flow.network.precision)
            return critic.within(config)
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
        if (path / "config.json").exists():
            run = resume(path, dataset=dataset, progress=False)
        else:
            schedule = Schedule(
                log_interval=max(1, self._steps // 10),
                evaluation_interval=max(1, self._steps // 2),
                evaluation_episodes=self._episodes,
                checkpoint_interval=max(1, self._steps // 2),
            )
            run = train(
                config,
                dataset,
                env=self._task,
                seeds=seeds,
                steps=self._steps,
                directory=path,
                schedule=schedule,
                progress=False,
            )
        parameters = count_parameters(run.state_of(seeds[0]).parameters)
        flops = update_flops(config, run.config.statistics)
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
                    "seconds": 1 / (rate * len(seeds)) if rate else 0.0,
                },
            )
