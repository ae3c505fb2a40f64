"""What long work tells, also where nobody can be told."""

import errno
import io

import pytest

from floq import progress


class Full(io.StringIO):
    """A standard error on a full disk, or without a reader."""

    tried = 0

    def write(self, text):
        self.tried += 1
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Lines are printed whenever they are asked for."""
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_BUSY_SECONDS", 0.0)


def test_without_a_terminal_there_are_plain_lines(capsys):
    """What goes on between two steps, and at a step how far it is."""
    with progress.ProgressDisplay(200, bar=True) as display:
        display.busy("episode 3 of 50")
        display.note("success 0.50")
        display.log(100, 50.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "episode 3 of 50",
        "step 100 of 200, 50 steps/s, 0 min left, success 0.50",
    ]


def test_a_slow_step_breaks_the_silence(monkeypatch, capsys):
    """A step between two log steps is told if nothing was for half a minute, and only then."""
    with progress.ProgressDisplay(200, bar=True) as display:
        display.update(1, 0.02)
        assert not capsys.readouterr().err
        monkeypatch.setattr(progress, "_SILENT_SECONDS", 0.0)
        display.update(2, 0.0)
        display.update(3, 0.02)
    assert capsys.readouterr().err.splitlines() == [
        "step 2 of 200",
        "step 3 of 200, 0.02 steps/s, 164 min left",
    ]


def test_work_goes_on_where_standard_error_cannot_be_written(monkeypatch):
    """Neither between two steps nor at one does a full disk end it."""
    full = Full()
    monkeypatch.setattr("sys.stderr", full)
    with progress.ProgressDisplay(200, bar=True) as display:
        display.busy("episode 3 of 50")
        tried = full.tried
        assert tried > 0
        display.log(100, 50.0)
    assert full.tried > tried
