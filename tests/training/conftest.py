"""Runs that are made once, for all tests that only read them."""

import offline_runs
import online_runs
import pytest


@pytest.fixture(scope="session")
def uncut(tmp_path_factory):
    """A run on data that was never cut."""
    return offline_runs.run_tiny(tmp_path_factory.mktemp("uncut") / "run")


@pytest.fixture(scope="session")
def uncut_online(tmp_path_factory):
    """A run on data and then in its environment that was never cut."""
    return online_runs.run_tiny(tmp_path_factory.mktemp("uncut_online") / "run")
