"""Where the pages' commands are tried."""

import sys

import gymnasium
import pytest

from tests.registrations import forget_registrations


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, whose modules and what they register are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget_registrations(monkeypatch)
    modules, environments = set(sys.modules), set(gymnasium.registry)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    for name in set(gymnasium.registry) - environments:
        if name.startswith("Point"):
            del gymnasium.registry[name]
