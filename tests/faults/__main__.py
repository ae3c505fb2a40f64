"""Draws the trials, writes the counts, and shows them: `python -m tests.faults`."""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from floq.workers import available_cores
from tests.faults.page import put_between, table
from tests.faults.rows import ROWS
from tests.faults.trials import Row, run_row

Counts = dict[str, Any]


def main() -> int:
    """Runs the rows that are asked for; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", choices=("full", "small"), default="small")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW")
    parser.add_argument("--count", type=int, help="another number of trials a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("faults.json"))
    parser.add_argument("--page", type=Path, help="a page whose table is to show the counts")
    parser.add_argument("--workers", type=int, default=1, help="rows that are drawn side by side")
    options = parser.parse_args()
    # Rows that are not run keep their counts, so that a long draw can be done piece by piece.
    counts = json.loads(options.output.read_text()) if options.output.exists() else {"rows": {}}
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    draw = _drawn_here if options.workers == 1 or len(rows) == 1 else _drawn_side_by_side
    for found in draw(rows, options, counts):
        known_rows = counts["rows"] | found
        counts["rows"] = {row.name: known_rows[row.name] for row in ROWS if row.name in known_rows}
        counts["python"] = platform.python_version()
        options.output.write_text(json.dumps(counts, indent=2, ensure_ascii=False) + "\n")
    if options.page:
        put_between(options.page, "faults", table(counts))
    failed = sum(row["failed"] for row in counts["rows"].values())
    print(f"{failed} trials failed; the counts are in {options.output}.")
    return 1 if failed else 0


def _drawn_here(rows: list[Row], options: argparse.Namespace, _: Counts) -> Iterator[Counts]:
    """The counts of one row after the other, drawn in this process."""
    for row in rows:
        with tempfile.TemporaryDirectory(prefix="floq-faults-") as folder:
            found = run_row(
                row,
                options.trials,
                seed=options.seed,
                folder=Path(folder),
                trials=options.count,
                tell=lambda line: print(line, file=sys.__stderr__, flush=True),
            )
        yield {row.name: {"seed": options.seed, "cores": available_cores(), **found}}


def _drawn_side_by_side(
    rows: list[Row], options: argparse.Namespace, known: Counts
) -> Iterator[Counts]:
    """The counts of each row as it ends, each drawn in a process of its own."""

    def drawn(row: Row, output: Path) -> Counts:
        command = [
            sys.executable,
            "-m",
            "tests.faults",
            "--only",
            row.name,
            "--output",
            str(output),
        ]
        command += ["--trials", options.trials, "--seed", str(options.seed)]
        command += ["--count", str(options.count)] if options.count is not None else []
        status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if not output.exists():
            raise RuntimeError(f"{row.name} was not drawn: its process ended with {status}.")
        return json.loads(output.read_text())["rows"]

    def seconds(row: Row) -> float:
        return known["rows"].get(row.name, {}).get("seconds", 0)

    with (
        tempfile.TemporaryDirectory(prefix="floq-faults-") as folder,
        ThreadPoolExecutor(options.workers) as workers,
    ):
        # The longest first, so that the last ones are short.
        ordered = sorted(rows, key=seconds, reverse=True)
        ends = [workers.submit(drawn, row, Path(folder) / f"{row.name}.json") for row in ordered]
        for end in as_completed(ends):
            yield end.result()


if __name__ == "__main__":
    sys.exit(main())
