"""The pages of the documentation, and what stands in them for others to type."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.parts[-2] != "log"),
]
"""All but the log, which holds commands of its time, and the tables of results."""
PAGES = [page for page in PAGES if "results" not in page.relative_to(ROOT).parts]


class Block(NamedTuple):
    """A block of code.

    Attributes:
        language: As the page says; empty if it does not.
        text: What stands in it.
        is_run: Whether it can be run: no comment before it says why not.
    """

    language: str
    text: str
    is_run: bool


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    pattern = r"(<!-- not run: \S[^\n]* -->\s*)?^```(\w*)\n(.*?)^```"
    found = re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, text, not mark) for mark, language, text in found]


def lines(block: Block) -> list[str]:
    """The commands of a block: continued lines are joined, comments and settings taken away."""
    found = block.text.replace("\\\n", " ").splitlines()
    found = [re.sub(r"(^|\s)#.*", "", line).strip() for line in found]
    return [re.sub(r"^([A-Z_]+=\S+ )+", "", line) for line in found if line]


def inline_commands(page: Path) -> list[list[str]]:
    """The words of each `floq …` that stands in a sentence or a table."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"`(floq [a-z][^`]*)`", text)
    return [shlex.split(command.replace("\\|", "|").replace("…", "")) for command in found]


def file_name(block: Block) -> str | None:
    """The file that a block is, by its first line."""
    found = re.match(r"# file: (\S+)\n", block.text)
    return found and found.group(1)


def write_files(page: Path, folder: Path) -> None:
    """Writes the blocks of a page that are files."""
    for block in blocks(page):
        if name := file_name(block):
            (folder / name).write_text(block.text)


def command_name(words: list[str]) -> str:
    """The command's name: the first word, or two for those of `data`."""
    return " ".join(words[1:3]) if words[1] == "data" else words[1]


def name_of(page: Path) -> str:
    """The page as its test is called."""
    return str(page.relative_to(ROOT))
