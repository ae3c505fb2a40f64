"""`floq study`: a question about critics, answered by a grid of variants and seeds."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from floq.shell import EXIT_INTERRUPTED
from floq.streams import complain


@dataclasses.dataclass(frozen=True)
class Study:
    """Answer a question about critics by a grid of variants and seeds; alone, list the questions.

    Attributes:
        name: The study; without one, all are listed with the questions that they answer.
        ground: value compares values with a known truth, in minutes; control trains policies.
        size: small for two cores, full for an accelerator.
        task: What policies are trained on, on the control ground.
        seeds: Seeds; by default 0 to 9 for value and 0 to 2 for control.
        variants: Names of the variants to run, if not all.
        updates: Updates of every variant, if not those of the size.
        processes: Processes that compute variants side by side; by default one for each core where
            policies are trained on a CPU, and one elsewhere.
        directory: Folder of the study; runs/studies/NAME-GROUND-SIZE by default.
        list: List the studies, or the variants of the one that is named.
    """

    name: tyro.conf.Positional[str] = ""
    ground: Literal["value", "control"] = "value"
    size: Literal["small", "full"] = "small"
    task: str = "pointmaze-medium-navigate-singletask-task1-v0"
    seeds: tuple[int, ...] | None = None
    variants: tuple[str, ...] = ()
    updates: int | None = None
    processes: int | None = None
    directory: Path | None = None
    list: bool = False

    def run(self) -> int:
        """Runs the study; run again, it goes on where it was cut."""
        from floq.studies.runner import list_studies, run_study
        from floq.training import Interrupted

        if self.list or not self.name:
            print(list_studies(self.name, ground=self.ground, size=self.size, task=self.task))
            return 0
        try:
            path = run_study(
                self.name,
                ground=self.ground,
                size=self.size,
                task=self.task,
                seeds=self.seeds,
                variants=self.variants,
                updates=self.updates,
                processes=self.processes,
                directory=self.directory,
            )
        except Interrupted:
            complain("Saved. The same command goes on from here.")
            return EXIT_INTERRUPTED
        print((path / "table.md").read_text(encoding="utf-8"))
        print(f"Wrote table.csv, table.md and figure.svg into {path}.")
        return 0
