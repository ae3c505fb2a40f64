"""W&B, offline, gets what a run's files hold, under one id."""

import re

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
    ids = {re.fullmatch(r"offline-run-\d{8}_\d{6}-(\w+)", name)[1] for name in names}
    assert len(ids) == 1
    for name in names:
        (file,) = (path / "wandb" / name).glob("*.wandb")
        content = file.read_bytes()
        for figure in (b"policy/value", b"seed_5/policy/value", b"evaluation/return"):
            assert figure in content
