"""`floq report`: a page about runs, or about a sweep."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a page of pictures and figures about one or more runs, or about a sweep.

    Attributes:
        directories: The runs, or folders of runs; or a sweep's folder, or its table.
        output: The page; it holds everything that it shows. report.html in the run's or the sweep's
            folder by default, and for several runs in the one that holds them all.
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None

    def run(self) -> int:
        """Writes the page."""
        from floq.reports.report import report
        from floq.sweeps.page import sweep_report, sweep_table

        table = sweep_table(self.directories)
        if table is None:
            page = report(self.directories, output=self.output)
        else:
            page = sweep_report(table, output=self.output)
        print(f"Wrote {page}")
        return 0
