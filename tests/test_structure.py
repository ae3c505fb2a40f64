"""The rooms of the house: imports go up one list, between rooms and inside them."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import floq
from floq.commands.finetune import Finetune
from floq.commands.resume import Resume
from floq.commands.train import Train

SOURCE = Path(floq.__file__).parent
ROOMS = """
settings observations types shell plugins interrupted streams extras progress disk compiled
workers client processor flow_matching diffusion losses networks critics policies algorithms
data envs tasks presets intervals acting evaluation recording compute export runs
inspection reports sharing watching loggers training inspecting
sweeps studies demo doctor commands cli __main__
""".split()
"""Each may import from those before it, and from the package itself, which holds the version."""


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported_modules(name: str) -> set[str]:
    """The modules of floq that a module names in its imports, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written in full"
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            parts = [alias.name for alias in node.names]
        else:
            continue
        for part in parts:
            room, _, inner = part.partition(".")
            if room == "floq":
                found.add(inner if inner in MODULES else inner.rpartition(".")[0])
    return found - {name, ""}


def room(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_rooms_are_imported_upwards(name):
    """A module imports from its own room and from rooms that stand before it in the list."""
    assert room(name) in ROOMS, f"{room(name)} is a new room: put it into the list"
    before = ROOMS[: ROOMS.index(room(name)) + 1]
    assert {room(other) for other in imported_modules(name)} <= set(before)


def test_modules_of_a_room_import_each_other_in_one_direction():
    """No module imports itself by way of others."""
    waiting = {name: imported_modules(name) & MODULES.keys() for name in MODULES if name}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting, f"these import each other in a ring: {sorted(waiting)}"


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function beside its docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_files_and_functions_are_short(folder):
    """No file has more than 400 lines, and no function more than 60 beside its docstring."""
    paths = sorted((Path(__file__).parents[1] / folder).rglob("*.py"))
    assert paths
    long = []
    for path in paths:
        text = path.read_text()
        if (lines := len(text.splitlines())) > 400:
            long.append(f"{path}: {lines} lines")
        long += [
            f"{path}: {node.name} has {own_lines(node)} lines beside its docstring"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and own_lines(node) > 60
        ]
    assert not long, "\n".join(long)


def test_public_names_can_be_imported():
    """Every name that floq exports is there, and an unknown one is an AttributeError."""
    for name in floq.__all__:
        assert getattr(floq, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        floq.no_such_name  # noqa: B018


def test_public_names_are_documented():
    """Each class and function says what it is."""
    for name in floq.__all__:
        thing = getattr(floq, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert (thing.__doc__ or "").strip(), f"{name} has no docstring"


def test_public_names_are_in_the_reference():
    """Each by the path of where it is, as a member of a module that is shown, or by its name."""
    pages = "".join(
        page.read_text(encoding="utf-8")
        for page in (SOURCE.parents[1] / "docs" / "reference").glob("*.md")
    )
    shown = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    for name in floq.__all__:
        home = getattr(getattr(floq, name), "__module__", None)
        is_shown = any(path == home or path.rpartition(".")[2] == name for path in shown)
        assert is_shown or f"`floq.{name}`" in pages, f"floq.{name} is on no page of the reference"


def test_arguments_have_one_name_and_one_meaning():
    """What several public functions take is called alike, and is of one type, in all of them."""
    functions = (
        *(floq.train, floq.resume, floq.finetune, floq.evaluate, floq.record, floq.inspect),
        *(floq.load_task, floq.preset, floq.Run.actor),
    )
    kinds: dict[str, set[str]] = {}
    for function in functions:
        for parameter in inspect.signature(function).parameters.values():
            kind = inspect.formatannotation(parameter.annotation)
            kinds.setdefault(parameter.name, set()).add(re.sub(r" *\| *None", "", kind))
    assert not {"environment", "data", "task_name", "episode_seed"} & kinds.keys()
    for name in ("seed", "seeds", "policy_seed", "steps", "online_steps", "env", "task", "online"):
        assert len(kinds[name]) == 1, f"{name} is {kinds[name]}"


@pytest.mark.parametrize(
    ("command", "function"),
    [(Train, floq.train), (Resume, floq.resume), (Finetune, floq.finetune)],
)
def test_commands_call_arguments_as_python_does(command, function):
    """`floq train --steps` is `steps` of `floq.train`, and so on."""
    # Groups of options, the run itself, and what is no setting of the call.
    grouped = {"where", "reading", "together", "config", "algorithm", "run_directory"}
    grouped |= {"goal_settings", "device_memory"}
    # A file is what the command line has of a `dataset`, and a number of `Online(steps=…)`.
    # A task's rewards come with its `dataset`.
    spelled = {"data": "dataset", "reward": "dataset", "logger": "loggers"}
    spelled |= {"online_steps": "online"} if command is Train else {}
    names = {field.name for field in dataclasses.fields(command)} - grouped
    assert {spelled.get(name, name) for name in names} <= inspect.signature(
        function
    ).parameters.keys()
