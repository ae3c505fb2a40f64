"""`floq inspect`: what the inside of a trained critic looks like."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from floq.commands.training import EnvironmentOptions, Sources, data_file
from floq.data.reading import Reading


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Write a page of pictures about the inside of a trained critic.

    Attributes:
        directory: The run.
        output: The page; it holds everything that it shows. inspection.html in the run's folder by
            default.
        policy_seed: Which of the run's seeds to look into; its first by default.
        data: The source of the run's data, if the run does not know it; of a task's run the folder
            of the dataset files, $FLOQ_DATA or ~/.ogbench/data by default.
        reading: How it is read, if the run does not know it.
        where: The environment, if it is not the run's.
        episodes: Episodes of the policy that values are compared with.
        integration_steps: The K at which a flow critic is read again.
        processes: Processes that step environments; by default one for each core.
    """

    directory: tyro.conf.Positional[Path]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    policy_seed: int | None = None
    data: Sources = ()
    reading: tyro.conf.OmitArgPrefixes[Reading] = Reading()
    where: tyro.conf.OmitArgPrefixes[EnvironmentOptions] = EnvironmentOptions()
    episodes: int = 20
    integration_steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    processes: int | None = None

    def run(self) -> int:
        """Writes the page."""
        from floq.inspecting import inspect

        # A single path may also be the folder of a task's files.
        data = data_file(self.data, self.reading, None)
        is_plain = len(self.data) == 1 and not self.reading.said
        page = inspect(
            self.directory,
            output=self.output,
            policy_seed=self.policy_seed,
            dataset=self.data[0] if is_plain else data,
            env=self.where.spec(),
            episodes=self.episodes,
            integration_steps=self.integration_steps,
            processes=self.processes,
        )
        print(f"Wrote {page}")
        return 0
