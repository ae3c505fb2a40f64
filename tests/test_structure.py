"""The rooms of the house: which module may import which."""

import ast
from pathlib import Path

import pytest

import floq

SOURCE = Path(floq.__file__).parent
BOTTOM = {"types", "settings", "shell"}
MAY_IMPORT = {
    "types": set(),
    "settings": set(),
    "shell": set(),
    "disk": set(),
    "extras": set(),
    "streams": set(),
    "compiled": {"disk"},
    "workers": set(),
    "progress": set(),
    "flow_matching": BOTTOM,
    "losses": BOTTOM,
    "networks": BOTTOM,
    "critics": BOTTOM | {"networks", "flow_matching", "losses"},
    "policies": BOTTOM | {"networks", "flow_matching"},
    "algorithms": BOTTOM | {"critics", "policies", "networks", "flow_matching", "losses"},
    "data": BOTTOM | {"disk", "extras", "workers"},
    "envs": BOTTOM | {"extras", "workers"},
    "tasks": BOTTOM | {"data", "envs", "extras"},
    "evaluation": BOTTOM | {"envs", "progress", "workers"},
    "recording": BOTTOM | {"envs", "evaluation"},
    "doctor": BOTTOM | {"data", "envs", "compiled", "extras"},
}
MAY_IMPORT["training"] = {*MAY_IMPORT, ""} - {"doctor"}  # "" has the version.
MAY_IMPORT["experiments"] = {*MAY_IMPORT, ""}
MAY_IMPORT["commands"] = {*MAY_IMPORT, ""}
MAY_IMPORT["cli"] = {*MAY_IMPORT, ""}
MAY_IMPORT[""] = {*MAY_IMPORT}  # The package itself, whose names are imported on first use.


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported_rooms(path: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names.append(f"{node.module}.{node.names[0].name}")
        elif isinstance(node, ast.Import):
            names += [f"{alias.name}." for alias in node.names]
    rooms = {name.split(".")[1] for name in names if name.split(".")[0] == "floq"}
    return {name if name in MAY_IMPORT else "" for name in rooms}


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_imports_go_one_way(path):
    """A module imports from its own room and from those that it may know, and no other."""
    own = room(path)
    assert own in MAY_IMPORT, f"{own} is a new room: say here what it may import"
    assert imported_rooms(path) <= MAY_IMPORT[own] | {own}


def test_public_names_can_be_imported():
    """Every name that floq exports is there, and an unknown one is an AttributeError."""
    for name in floq.__all__:
        assert getattr(floq, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        floq.no_such_name  # noqa: B018
