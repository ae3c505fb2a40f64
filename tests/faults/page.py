"""The counts as a table of the docs."""

import re
from pathlib import Path
from typing import Any


def table(counts: dict[str, Any]) -> str:
    """The counts as a Markdown table, a row each, and a line for every trial that failed."""
    lines = [
        "| done | must hold | trials | held | seconds | largest |",
        "|---|---|---|---|---|---|",
    ]
    cases = []
    for name, row in counts["rows"].items():
        short = isinstance(row["wanted"], int) and row["trials"] < row["wanted"]
        trials = f"{row['trials']} of {row['wanted']}" if short else f"{row['trials']}"
        measured = ", ".join(f"{what} {value:g}" for what, value in row["measured"].items())
        cells = (f"{row['done']} (`{name}`)", row["holds"], trials, f"{row['held']}",
                 f"{row['seconds']:g}", measured)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
        cases += [f"- `{name}`: {case}" for case in row["cases"]]
    return "\n".join([*lines, *(["", "What did not hold:", "", *cases] if cases else [])])


def put_between(page: Path, name: str, text: str) -> None:
    """Replaces what is between the page's two marks of a name.

    Raises:
        ValueError: If it has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    shown = f"{begin}\n{text}\n{end}"
    changed, found = re.subn(f"{begin}.*{end}", lambda _: shown, page.read_text(), flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{page} has no lines {begin} and {end} for the text to stand between.")
    page.write_text(changed)
