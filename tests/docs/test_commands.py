"""What the pages show can be typed: all but the work of their commands and examples is tried."""

import ast
import contextlib
import functools
import importlib
import inspect
import io
import re
import shlex

import pytest

import floq
from floq import cli
from tests.docs.pages import (
    PAGES,
    ROOT,
    blocks,
    command_name,
    inline_commands,
    lines,
    name_of,
    write_files,
)


@pytest.fixture
def idle(monkeypatch):
    """Commands read their words and do nothing."""
    for command in cli._COMMANDS.values():
        monkeypatch.setattr(command, "run", lambda _: 0)


@functools.cache
def help_of(name: str) -> str:
    """What `floq NAME --help` says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert cli.main([*name.split(), "--help"]) == 0
    return said.getvalue()


def check_options(words: list[str]) -> None:
    """The command exists, and each of its options is in its help."""
    *group, names = command_name(words).split(" ")
    for one in (" ".join([*group, name]) for name in names.split("|")):
        for word in words:
            option = word.partition("=")[0]
            if option.startswith("-") and option != "--plugin" and not option[1].isdigit():
                assert re.search(rf"(^|[\s,]){option}\b", help_of(one)), f"{one} has no {option}"
        assert "usage: floq" in help_of(one)


def check_line(line: str, *, is_run: bool) -> None:
    """A line of bash: the Makefile has its target, or floq's own parser takes it."""
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets) | {word for word in words if "=" in word}
    elif words[0] == "floq":
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            status = cli.main(words[1:])
        assert status == 0, f"{line}: {said.getvalue()}"
    else:
        assert not is_run, f"{line!r} is no command that can be tried: say why it is not run"


def check_python(text: str, page: str) -> None:
    """The code compiles, what it imports of floq is there, and calls of it have its parameters."""
    tree = ast.parse(text, page)
    compile(tree, page, "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("floq"):
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Attribute):
            _named(node)
        elif isinstance(node, ast.Call) and (called := _named(node.func)) is not None:
            names = [word.arg for word in node.keywords]
            if None not in names and not any(isinstance(a, ast.Starred) for a in node.args):
                inspect.signature(called).bind(*node.args, **dict.fromkeys(names))


def _named(node: ast.expr):
    """What `floq.NAME…` is, or nothing for another expression."""
    if isinstance(node, ast.Attribute):
        owner = _named(node.value)
        return None if owner is None else getattr(owner, node.attr)
    return floq if isinstance(node, ast.Name) and node.id == "floq" else None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.filterwarnings("ignore:.*")
def test_what_a_page_shows_can_be_typed(page, folder, idle):
    """Every command is parsed, run or not, up to its work, and every name of floq is there."""
    write_files(page, folder)
    for block in blocks(page):
        if block.language == "python":
            check_python(block.text, page.name)
        elif block.language == "bash":
            for line in lines(block):
                if line.startswith(("floq ", "make ")) or block.is_run:
                    check_line(line, is_run=block.is_run)
        else:
            shown = [
                line for line in block.text.splitlines() if re.match(r"floq |make |pip ", line)
            ]
            assert not shown, f"{page.name}: commands in a block that is not bash: {shown}"
    for words in inline_commands(page):
        check_options(words)


@pytest.mark.parametrize(
    "wrong",
    [
        "floq trian cube-double-play-singletask-v0",
        "floq train cube-double-play-singletask-v0 --step 5",
        "floq train --data a.npz --algorithm fql --config.critic.integration-steps 4",
        "floq train cube-double-play-singletask-v0 --steps many",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(wrong, idle):
    """Neither the command nor an option nor a value of it is taken."""
    with pytest.raises(AssertionError, match=wrong):
        check_line(wrong, is_run=True)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("floq.trian()", AttributeError),
        ("floq.Dataset.laod('a.npz')", AttributeError),
        ("from floq.data import laod", ImportError),
        ("floq.load_run('runs/a', sed=0)", TypeError),
        ("floq.load_run(", SyntaxError),
    ],
)
def test_python_that_cannot_run_is_noticed(wrong, error):
    with pytest.raises(error):
        check_python(wrong, "page")
