"""Commands say what they have to say, where that can be read, and work where it cannot."""

import io
import os
import subprocess
import sys
import warnings

import pytest

from floq.cli import main
from floq.streams import complain, say, warnings_in_words

FLOQ = [sys.executable, "-m", "floq"]


def shell(arguments, redirections, **variables):
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *FLOQ, *arguments.split()],
        capture_output=True,
        env=os.environ | variables,
        timeout=120,
    )


@pytest.mark.parametrize(
    "redirections",
    [*(pytest.param(one, marks=pytest.mark.slow) for one in (">&-", "2>&-")), "<&- >&- 2>&-"],
)
def test_closed_streams_are_no_error(redirections):
    """What nobody wants to hear is not said."""
    done = shell("presets", redirections)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_was_closed_leads_nowhere_for_what_is_started_too():
    """Otherwise a process that a library starts would have a file of its own as its output."""
    code = (
        "import os, subprocess, sys; from floq.streams import prepare_streams; prepare_streams(); "
        "found = [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]; "
        "subprocess.run([sys.executable, '-c', 'import os; [os.fstat(n) for n in (0, 1, 2)]'], "
        "check=True); sys.exit(found != ['/dev/null'] * 3)"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, timeout=60).returncode == 0


def test_output_that_cannot_be_written_is_an_error():
    """A full disk under standard output gives the status 2, and a word on standard error."""
    done = shell("presets", ">/dev/full")
    assert done.returncode == 2
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr
    assert shell("resume nowhere", "2>/dev/full").returncode == 2


def test_an_encoding_may_lack_letters():
    """They become question marks."""
    done = shell("--help", "", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"floq COMMAND ?" in done.stdout


def test_a_warning_is_a_sentence_and_said_once():
    """Without path, line and code; afterwards Python shows warnings its own way again."""
    former = warnings.formatwarning
    with warnings_in_words():
        shown = [warnings.formatwarning("odd data.", UserWarning, "f.py", 1) for _ in range(2)]
    assert shown == ["floq: odd data.\n", ""]
    assert warnings.formatwarning is former


def test_complaints_need_no_listener(monkeypatch):
    """A standard error whose terminal is gone costs nothing but the words."""
    tried = []

    class Gone:
        def write(self, text):
            tried.append(text)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    complain("what nobody hears")
    assert tried[0] == "what nobody hears"


def test_what_is_said_in_python_needs_no_letters_and_no_listener(monkeypatch):
    """The streams are then the user's own, and may lack both."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("läufe")
    stream.flush()
    assert stream.buffer.getvalue() == b"l?ufe\n"
    monkeypatch.setattr(sys, "stdout", None)
    say("läufe")


def test_paths_of_commands_may_begin_with_a_tilde(tmp_path, monkeypatch, capsys):
    """Shells leave ~ in `--directory=~/data` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["data", "check", "cube-single-play-v0", "--directory=~/data"]) == 2
    assert f"{tmp_path}/data/cube-single-play-v0.npz" in capsys.readouterr().err
    assert main(["resume", "~/nowhere"]) == 2
    assert f"{tmp_path}/nowhere holds no run" in capsys.readouterr().err
