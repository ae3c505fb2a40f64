"""Draws the trials, writes the counts, and shows them: `python -m faults`."""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from faults.learning import kept_programs
from faults.page import put_table
from faults.rows import ROWS
from faults.trials import Row, run_row


def main() -> int:
    """Runs the rows that are asked for; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--trials", choices=("full", "small"), default="small")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW")
    parser.add_argument("--count", type=int, help="another number of trials a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("faults.json"))
    parser.add_argument("--page", type=Path, help="a page whose table is to show the counts")
    options = parser.parse_args()
    # Rows that are not run keep their counts, so that a long draw can be done piece by piece.
    counts = json.loads(options.output.read_text()) if options.output.exists() else {"rows": {}}
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    with kept_programs():
        for row in rows:
            _draw(row, options, counts)
    if options.page:
        put_table(options.page, counts)
    failed = sum(row["failed"] for row in counts["rows"].values())
    print(f"{failed} trials failed; the counts are in {options.output}.")
    return 1 if failed else 0


def _draw(row: Row, options: argparse.Namespace, counts: dict[str, Any]) -> None:
    """Draws a row's trials and writes its counts beside those of the others."""
    with tempfile.TemporaryDirectory(prefix="floq-faults-") as folder:
        found = run_row(
            row,
            options.trials,
            seed=options.seed,
            folder=Path(folder),
            trials=options.count,
            tell=lambda line: print(line, file=sys.__stderr__, flush=True),
        )
    rows = counts["rows"] | {row.name: {"seed": options.seed, "cores": _cores(), **found}}
    counts["rows"] = {known.name: rows[known.name] for known in ROWS if known.name in rows}
    counts["python"] = platform.python_version()
    options.output.write_text(json.dumps(counts, indent=2, ensure_ascii=False) + "\n")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
