"""`floq export`: a run's policy as a folder that acts without floq."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a run's policy as a folder that acts without floq.

    Attributes:
        directory: The run.
        format: A program of jax for CPUs and GPUs, of ONNX, or of numpy alone.
        output: The folder, which must be new; by default the policy's kind in the run's folder, or,
            for a run on the Hub, in a folder of its name where you work.
        policy_seed: Which of the run's seeds acts; the first by default.
    """

    directory: tyro.conf.Positional[Path]
    format: Literal["jax", "onnx", "numpy"] = "jax"
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    policy_seed: int | None = None

    def run(self) -> int:
        """Writes the folder."""
        from floq.extras import require_extra

        if self.format == "onnx":
            require_extra("export")
        from floq.export.folder import export_policy, new_folder
        from floq.runs.hub import is_shared, repository_of
        from floq.runs.run import load_run

        trained = load_run(self.directory).trained(self.policy_seed)
        home = self.directory
        if is_shared(home):
            repository, _ = repository_of(home)
            home = Path(repository).name  # Nobody looks for it in the Hub's cache.
        folder = new_folder(self.output or Path(home, f"export-{self.format}"))
        # Takes minutes for images, and for the best of many actions.
        print("Writing the program, and comparing it with the policy.", file=sys.stderr)
        export_policy(trained, folder, format=self.format)
        print(f"Wrote {folder}; its README.md says how to use it.")
        return 0
