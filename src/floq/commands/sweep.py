"""`floq sweep`: many runs from one file."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from floq.plugins import command
from floq.streams import complain

if TYPE_CHECKING:
    from floq.sweeps.estimate import Estimate


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Run tasks × algorithms × settings × seeds from a file, and finish each once.

    Called again after a kill, it goes on where it was cut.

    Attributes:
        spec: The sweep as a TOML file.
        directory: Folder of its runs and its table; runs/NAME by default, for NAME.toml.
        dry_run: Only say what would be run and what it would cost.
        address: An existing Ray cluster's, such as 10.0.0.1:6379; by default the sweep has this
            machine for itself.
        minutes: Time after which it saves and stops, to go on with the next call.
    """

    spec: tyro.conf.Positional[Path]
    directory: Path | None = None
    dry_run: bool = False
    address: str | None = None
    minutes: float | None = None

    def run(self) -> int:
        """Finishes the sweep; 1 if a run failed, 75 if it was stopped and can go on."""
        from floq.sweeps import read_spec, sweep
        from floq.training import EXIT_INTERRUPTED

        spec = read_spec(self.spec)
        directory = self.directory or Path("runs") / self.spec.stem
        if self.dry_run:
            from floq.sweeps.estimate import estimate

            print("\n".join(_forecast(directory, estimate(spec, directory))))
            return 0
        try:
            outcome = sweep(spec, directory, address=self.address, minutes=self.minutes)
        except KeyboardInterrupt:
            complain("Stopped. The same command goes on from here.")
            return EXIT_INTERRUPTED
        table, failures, left = outcome
        if failures:
            complain(f"{len(failures):,} runs failed, as said above; call again to try them again.")
        print(f"{table} is written; {table.with_suffix('.md').name} beside it is for reading.")
        print(f"  {command('report', directory)}")
        if left:
            complain(f"{left:,} runs are left. The same command goes on.")
            return EXIT_INTERRUPTED
        return 1 if failures else 0


def _forecast(directory: Path, parts: "list[Estimate]") -> list[str]:
    """The lines that `--dry-run` prints."""
    rate = parts[0].gflops_per_second
    header = ["dataset", "algorithm", "settings", "runs", "left", "seeds", "GFLOP/update"]
    header += ["updates left", "PFLOP left", *(["hours"] if rate else [])]
    rows = [header]
    for part in parts:
        row = [part.dataset, part.algorithm, part.settings or "–"]
        row += [f"{part.runs:,}", f"{part.left:,}", f"{part.seeds:,}"]
        row += [f"{part.gflops:,.3g}", f"{part.updates:,}", f"{part.total_gflops / 1e6:,.3g}"]
        rows.append(row + ([f"{part.hours:,.1f}"] if part.hours is not None else []))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    runs, left = sum(part.runs for part in parts), sum(part.left for part in parts)
    total = sum(part.total_gflops for part in parts)
    lines += ["", f"{directory}: {runs:,} runs, {left:,} of them left: {total / 1e6:,.4g} PFLOP."]
    if rate:
        hours = sum(part.hours or 0.0 for part in parts)
        lines.append(f"At {rate:,.5g} GFLOP/s that is {hours:,.1f} hours of one device.")
    else:
        lines.append("For hours, give gflops_per_second under [cost].")
    return [*lines, "Operations of updates are counted; evaluation and start-up are not."]
