"""Standard output and error that are closed, full, without a reader, or know no more than ASCII."""

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from floq.runs.directory import METRICS
from tests.faults.programs import Programs, announced, end_of, hold_same_end
from tests.faults.trials import Row, Trial, hold

_TRAINING = [
    *"--steps 60 --log-interval 20 --evaluation-interval 60 --evaluation-episodes 1".split(),
    *"--checkpoint-interval 20 --seeds 3 --max-episode-steps 50".split(),
]
_ENDLESS = [
    *"--steps 100000000 --log-interval 100 --evaluation-interval 100000000".split(),
    *"--evaluation-episodes 1 --checkpoint-interval 100000000".split(),
]
_SECONDS = 120
_ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


class _Harm(NamedTuple):
    """What is done to the streams.

    Attributes:
        redirections: What a shell does to them.
        variables: Of the environment.
        deaf: Of standard output and error, those whose reader is gone.
        lost: Whether what the command prints on standard output cannot arrive.
    """

    redirections: str = ""
    variables: dict[str, str] = {}  # noqa: RUF012 - never changed
    deaf: tuple[str, ...] = ()
    lost: bool = False


_HARMS = (
    _Harm(">&-"),
    _Harm("2>&-"),
    _Harm("<&- >&- 2>&-"),
    _Harm(variables={"PYTHONIOENCODING": "ascii"}),
    _Harm(variables=_ASCII),
    _Harm(">/dev/full", lost=True),
    _Harm("2>/dev/full"),
    _Harm(">/dev/full 2>/dev/full", lost=True),
    _Harm(deaf=("stdout",), lost=True),
    _Harm(deaf=("stderr",)),
)


def _run(programs: Programs, harm: _Harm, words: Sequence[str]) -> tuple[int, str]:
    """The exit status of `floq WORDS` and what it could say, harmed."""
    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        for name in harm.deaf:
            reader, streams[name] = os.pipe()
            os.close(reader)
            stack.callback(os.close, streams[name])
        command = [sys.executable, "-m", "floq", *words]
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {harm.redirections}', "sh", *command],
            cwd=programs.folder,
            env=programs.environment | harm.variables,
            timeout=_SECONDS,
            **streams,  # pyright: ignore[reportArgumentType]
        )
    said = (done.stdout or b"") + (done.stderr or b"")
    return done.returncode, said.decode(errors="replace")


def _command(programs: Programs, harm: _Harm, words: list[str], wanted: int = 0) -> None:
    """A command ends as it must, and what goes wrong is no traceback."""
    status, said = _run(programs, harm, words)
    hold("Traceback" not in said and "Exception ignored" not in said, said)
    # Output that nobody could have is an error; where nobody reads on, the shell knows it by 141.
    due = {wanted} if wanted or not harm.lost else {2, 141}
    hold(status in due, f"floq {words[0]} with {harm} ended with {status}: {said}")


@contextlib.contextmanager
def _streams(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    programs = Programs(folder)
    uncut = folder / "uncut"
    programs.run(*programs.train(uncut, *_TRAINING))
    expected = end_of(uncut)
    # No ASCII terminal can show the name of this folder.
    run = folder / "läufe ✓" / "run"

    def trains(harm: _Harm, random: np.random.Generator) -> None:
        """Training does its work, whoever listens, and so does the page about it."""
        shutil.rmtree(run, ignore_errors=True)
        _command(programs, harm, programs.train(run, *_TRAINING))
        hold_same_end(run, expected)
        page = run / "page.html"
        _command(programs, harm, ["report", str(run), "-o", str(page)])
        hold(page.read_bytes().startswith(b"<!"), "there is no page")

    def says(harm: _Harm, random: np.random.Generator) -> None:
        """Commands that print, and one that fails."""
        _command(programs, harm, ["presets"])
        _command(programs, harm, ["train", "--help"])
        _command(programs, harm, ["resume", str(folder / "nöwhere")], wanted=2)

    kinds: tuple[Callable[..., None], ...] = (trains, says)
    trials = [
        partial(kinds[(index + index // len(_HARMS)) % 2], _HARMS[index % len(_HARMS)])
        for index in range(wanted)
    ]
    # The last of a full draw, and one of a small one.
    trials[-1] = partial(_hang_up, programs, run)
    yield trials


def _hang_up(programs: Programs, run: Path, random: np.random.Generator) -> None:
    """The terminal goes away under a training: it saves, and ends with the status 75."""
    shutil.rmtree(run, ignore_errors=True)
    terminal, inner = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        # What nohup has this process ignore, its children would ignore too.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "floq", *programs.train(run, *_ENDLESS)],
        cwd=run.parent.parent,
        env=programs.environment,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        preexec_fn=take_terminal,
    )
    os.close(inner)
    try:
        while not (run / METRICS).exists():
            hold(process.poll() is None, "it ended before its first update")
            with contextlib.suppress(BlockingIOError):
                os.read(terminal, 2**16)  # Drawing its bar must not have to wait.
        os.close(terminal)
        status = process.wait(_SECONDS)
    finally:
        process.kill()
        process.wait()
    hold(status == 75, f"it ended with {status}")
    hold(announced(run) > 0, "nothing was saved")


ROWS = [
    Row(
        "streams",
        "standard input, output and error closed, full, without a reader or in ASCII; a terminal "
        "that goes away; for commands that train, draw, print and fail",
        "no traceback, the work done or saved, and an exit status that says what could not be said",
        20,
        2,
        _streams,
    ),
]
