"""W&B, offline, gets what a run's files hold, under one id."""

import os
import re
import subprocess
import sys

import pytest

from floq.loggers import find_loggers, replay

pytestmark = [
    pytest.mark.extras,
    # Its own service, and what it starts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_every_start_has_the_id_of_the_first(copy, monkeypatch):
    """So that W&B shows one curve; nothing fails."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("floq.loggers.following._pictures", lambda run: iter(()))
    path = copy()
    for _ in range(2):
        assert not replay(path, find_loggers(["wandb"]))
    names = [one.name for one in (path / "wandb").glob("offline-run-*")]
    # The second of two starts within a second has a number behind the id.
    ids = {re.fullmatch(r"offline-run-\d{8}_\d{6}-(\w+)(-\d+)?", name)[1] for name in names}
    assert len(names) == 2
    assert len(ids) == 1
    for name in names:
        (file,) = (path / "wandb" / name).glob("*.wandb")
        content = file.read_bytes()
        for figure in (b"policy/value", b"seed_5/policy/value", b"evaluation/return"):
            assert figure in content


def test_without_a_login_a_sentence_says_so(copy, tmp_path):
    """Nobody is asked where nobody can answer, nothing is sent, and the status tells."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-m", "floq", "log", str(copy()), "--to", "wandb"]
    said = subprocess.run(
        command,
        env={**known, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 2
    assert "The logger Wandb failed" in said.stderr
    assert "wandb login" in said.stderr
    assert "has all of it" not in said.stdout
