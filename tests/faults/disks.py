"""Disks that cannot do what most can, and folders that are not there or not one's own."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import unittest.mock
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from floq.runs.locks import HeldFolder
from floq.runs.locks import hold as take
from tests.faults.learning import resume_small, train_small
from tests.faults.programs import ROOT, end_of, hold_same_end
from tests.faults.trials import Row, Trial, hold
from tests.faults.writes import Disk, train_and_go_on

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.ENOSYS)
_NO_RENAME = (errno.ENOSYS, errno.EPERM, errno.ENOTSUP)
_STEPS = 50

# A process that takes a folder, with locks or without, says so and waits; or is refused.
_TAKER = """
import errno, sys, time, warnings
warnings.simplefilter("ignore")
path, error = sys.argv[1], int(sys.argv[2])
if error:
    import fcntl
    def flock(file, operation):
        raise OSError(error, "no locks")
    fcntl.flock = flock
from pathlib import Path
from floq.runs.locks import HeldFolder, hold
try:
    held = hold(Path(path), what="training")
except HeldFolder as refusal:
    print("refused:", refusal, flush=True)
else:
    print("holds", flush=True)
    time.sleep(300)
"""


@contextlib.contextmanager
def _failing(module: Any, name: str, error: int, when: Callable[..., bool]) -> Iterator[None]:
    """Has a function of the system fail for the calls that are meant."""
    real = getattr(module, name)

    def stand_in(*arguments: Any, **more: Any) -> Any:
        if when(*arguments):
            raise OSError(error, os.strerror(error))
        return real(*arguments, **more)

    with unittest.mock.patch.object(module, name, stand_in):
        yield


def _is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _always(*_: Any) -> bool:
    return True


def _goes_on(life: Path, harm: Any, expected: dict[str, str], word: str) -> None:
    """With the harm, a training comes to the same end, and one word is said about it."""
    with warnings.catch_warnings(record=True) as said, harm:
        warnings.simplefilter("always")
        train_and_go_on(life)
    texts = [str(one.message) for one in said]
    hold(any(re.search(word, text) for text in texts), f"not a word about it: {texts}")
    hold_same_end(life / "run", expected)


def _no_locks(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    error = int(random.choice(_NO_LOCKS))
    _goes_on(life, _failing(fcntl, "flock", error, _always), expected, "has no locks")


def _second_process(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """Two processes, of which one or both lack locks: the second is refused, or comes after."""
    first, second = ((0, 1), (1, 0), (1, 1))[random.integers(3)]
    error = int(random.choice(_NO_LOCKS))
    train_small(life / "run", steps=30)
    taker = _taker(life / "run", error * first)
    try:
        assert taker.stdout is not None
        hold(taker.stdout.readline() == "holds\n", "the first process could not take the folder")
        harm = _failing(fcntl, "flock", error, _always) if second else contextlib.nullcontext()
        refused = ""
        with warnings.catch_warnings(), harm:
            warnings.simplefilter("ignore")
            try:
                resume_small(life / "run", steps=_STEPS)
            except HeldFolder as refusal:
                refused = str(refusal)
            hold("training" in refused, f"a second process was let in: {refused!r}")
            taker.kill() if random.random() < 0.5 else taker.send_signal(signal.SIGTERM)
            taker.wait()
            resume_small(life / "run", steps=_STEPS)
    finally:
        taker.kill()
        taker.wait()
    hold_same_end(life / "run", expected)


def _taker(path: Path, error: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _TAKER, str(path), str(error)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )


def _many_processes(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """Of several that take a folder at once, beside a record of a dead one, one gets it."""
    life.mkdir(parents=True)
    with warnings.catch_warnings(), _failing(fcntl, "flock", errno.ENOSYS, _always):
        warnings.simplefilter("ignore")
        with take(life, what="training"):
            record = (life / ".owner").read_text()
    (life / ".owner").write_text(re.sub(r'"started": "\d+"', '"started": "1"', record))
    takers = [_taker(life, errno.ENOSYS) for _ in range(3)]
    try:
        answers = [taker.stdout.readline() for taker in takers if taker.stdout]
        hold(sum(answer == "holds\n" for answer in answers) == 1, f"they said {answers}")
    finally:
        for taker in takers:
            taker.kill()
            taker.wait()


def _no_sync(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    when = _is_folder if random.random() < 0.5 else _always
    harm = _failing(os, "fsync", int(random.choice(_NO_SYNC)), when)
    _goes_on(life, harm, expected, "does not say when")


def _no_rename(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """Where names cannot be changed, nothing is begun, or goes on, in silence."""
    begun = random.random() < 0.5
    if begun:
        train_small(life / "run", steps=30)
    error, said = int(random.choice(_NO_RENAME)), ""
    with _failing(os, "rename", error, _always), _failing(os, "replace", error, _always):
        try:
            train_and_go_on(life)
        except OSError as failure:
            said = str(failure)
    clear = os.strerror(error) in said and str(life) in said
    hold(clear, f"the error does not name the file and the reason: {said!r}")
    train_and_go_on(life)
    hold_same_end(life / "run", expected)


def _stays_full(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """A disk that is full from some call on: an error, and going on once there is room."""
    shutil.rmtree(life, ignore_errors=True)
    life.mkdir(parents=True)
    disk, said = Disk(life, fail=int(random.integers(5, 150)), stays=True), ""
    with disk.watched():
        try:
            train_and_go_on(life)
        except OSError as failure:
            said = str(failure)
    hold("No space" in said and str(life) in said, f"the error is {said!r}")
    train_and_go_on(life)
    hold_same_end(life / "run", expected)


def _foreign_cache(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """A cache that is a file, or somebody else's, is said, and the command does its work."""
    cache = life / "cache" / "floq"
    cache.parent.mkdir(parents=True)
    if random.random() < 0.5:
        cache.write_text("a file")
        said = _study(life, f"os.environ['XDG_CACHE_HOME'] = {str(cache.parent)!r}")
    else:
        own = "os.geteuid = lambda own=os.geteuid(): own + 1"
        said = _study(life, f"os.environ['XDG_CACHE_HOME'] = {str(cache.parent)!r}; {own}")
    hold(said.count("compiled programs are not kept") == 1, f"not one word about it: {said}")


def _no_home(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """A user whom the system does not know."""
    nobody = "os.environ.pop('HOME', 0); os.environ.pop('XDG_CACHE_HOME', 0); import pwd; "
    nobody += "pwd.getpwuid = dict().__getitem__"
    said = _study(life, nobody)
    hold(said.count("compiled programs are not kept") == 1, f"not one word about it: {said}")


def _tilde(life: Path, expected: dict[str, str], random: np.random.Generator) -> None:
    """~ is the user's home, in Python and on the command line."""
    with unittest.mock.patch.dict(os.environ, HOME=str(life)):
        train_small(Path("~/run"), steps=30)
        resume_small(Path("~/run"), steps=_STEPS)
    hold_same_end(life / "run", expected)
    _study(life, f"os.environ['HOME'] = {str(life)!r}", directory="~/studied")
    hold((life / "studied" / "table.md").exists(), "the study does not lie in the user's home")


def _study(life: Path, before: str, *, directory: str | None = None) -> str:
    """What a small study says, in a Python in which something was done before."""
    life.mkdir(parents=True, exist_ok=True)
    where = directory or str(life / "study")
    words = ["study", "integration-steps", "--seeds", "0", "--updates", "12", "--variants", "K=1"]
    words.append(f"--directory={where}")
    code = f"import os, sys; {before}; from floq.cli import main; sys.exit(main({words!r}))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=life,
        env=kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        timeout=300,
    )
    said = done.stdout + done.stderr
    hold(done.returncode == 0, f"the study ended with {done.returncode}: {said}")
    hold("Traceback" not in said, said)
    return said


_KINDS = (
    _no_locks,
    _no_sync,
    _no_rename,
    _stays_full,
    _second_process,
    _tilde,
    _foreign_cache,
    _no_home,
    _many_processes,
    _no_sync,
)


@contextlib.contextmanager
def _disks(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    uncut, life = folder / "uncut", folder / "life"
    train_and_go_on(uncut)
    expected = end_of(uncut / "run")

    def trial(kind: Callable[..., None], random: np.random.Generator) -> None:
        shutil.rmtree(life, ignore_errors=True)
        kind(life, expected, random)

    yield [partial(trial, _KINDS[index % len(_KINDS)]) for index in range(wanted)]


ROWS = [
    Row(
        "disks",
        "file systems without locks, fsync or renaming; full disks; two processes; caches of "
        "others; no home; ~ in paths",
        "a word about it, and then the uncut run's bits, or a clear error and nothing lost; a "
        "second process is never let in",
        40,
        5,
        _disks,
    ),
]
