"""`floq demo`: everything once, on a CPU."""

import dataclasses
from pathlib import Path

from floq.shell import EXIT_INTERRUPTED
from floq.streams import complain


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
        from floq.demo import demo
        from floq.training import Interrupted

        try:
            page = demo(self.directory, seeds=self.seeds)
        except Interrupted:
            complain("Saved. The same command goes on from here.")
            return EXIT_INTERRUPTED
        print(f"Open {page} in a browser.")
        return 0
