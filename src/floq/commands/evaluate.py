"""`floq evaluate`: the policies of a run in its environment."""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from floq.commands.training import EnvironmentOptions, in_environment


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
        where: The environment, if it is not the run's.
        processes: Processes that step environments; by default one for each core.
    """

    directory: tyro.conf.Positional[Path]
    episodes: int = 50
    seed: int = 0
    bc: bool = False
    integration_steps: tuple[int, ...] = ()
    where: tyro.conf.OmitArgPrefixes[EnvironmentOptions] = EnvironmentOptions()
    processes: int | None = None

    def run(self) -> int:
        """Prints a line for each seed and policy."""
        from floq.evaluation import Evaluator, shown
        from floq.runs.run import make_policy
        from floq.training import load_run

        run = in_environment(load_run(self.directory), self.where, processes=self.processes)
        if run.config.environment is None:
            raise ValueError(
                f"{self.directory} was trained without an environment: give one by --env."
            )
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
                    result = shown(evaluator, policy, episodes=self.episodes, seed=self.seed)
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
