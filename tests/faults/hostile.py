"""Reading hostile files: `python -m tests.faults.hostile`.

Each is read in a process of its own, forked from one in which all modules are loaded: there an
audit hook sees whatever Python does, and the system counts the memory.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import floq
from floq.training import load_run
from tests.faults import hostile_formats
from tests.faults.hostile_files import CASES, Run
from tests.faults.learning import make_arrays, train_small
from tests.faults.programs import ROOT
from tests.faults.trials import ALL, Row, Trial, hold

CASES.update(hostile_formats.CASES)
_SECONDS, _MEGABYTES = 5, 1024
_FORBIDDEN = {
    "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "subprocess.Popen", "ctypes.dlopen", "socket.connect", "os.rename", "os.remove", "os.mkdir",
}  # fmt: skip


class _Watch:
    """An audit hook, and what it saw that reading a file must not do.

    Attributes:
        seen: The events.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._known = {name.split(".")[0] for name in sys.modules} | sys.stdlib_module_names
        self._own = tuple({sys.prefix, sys.base_prefix, str(Path(floq.__file__).parent), "<frozen"})

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Looks at an event."""
        bad = event in _FORBIDDEN
        if event == "open":
            bad = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR) != 0
        elif event == "import":
            bad = str(arguments[0]).split(".")[0] not in self._known
        elif event == "exec":
            bad = not getattr(arguments[0], "co_filename", "").startswith(self._own)
        if bad:
            self.seen.append(f"{event} {arguments}"[:200])


def _read(name: str, folder: Path, report: int) -> None:
    """Spoils, then reads under watch; what happened is written to a pipe."""
    os.chdir(folder)
    spoil, read = CASES[name]
    run = Run(folder)
    with contextlib.suppress(Exception):
        # Sound files first, so that what is imported late is there. Some cases have none.
        read(run)
    spoil(run)
    watch = _Watch()
    signal.alarm(3 * _SECONDS)
    sys.addaudithook(watch)
    started = time.monotonic()
    try:
        read(run)
        outcome = "accepted"
    except (ValueError, FileNotFoundError) as error:
        outcome = "rejected" if str(error) else "rejected without a word"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    found = [outcome[:300], time.monotonic() - started, watch.seen]
    os.write(report, json.dumps(found).encode())


def _forked(name: str, sound: Path, place: Path) -> dict[str, Any]:
    """Has a child read one case; what came of it."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(sound, place / "inner")
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _read(name, place / "inner", writable)
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(child, 0)
    outcome, seconds, seen = json.loads(answer) if answer else (f"died by {status}", 0.0, [])
    if (place / "trace").exists() or (place / "inner" / "trace").exists():
        seen.append("a trace of code that ran")
    # Linux counts kilobytes, others bytes.
    megabytes = usage.ru_maxrss / (1024 if sys.platform == "linux" else 2**20)
    return {"name": name, "outcome": outcome, "seconds": seconds, "seen": seen, "MB": megabytes}


def main(sound: Path, names: Sequence[str]) -> None:
    """Reads the cases one by one; prints a line of JSON for each."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        print(json.dumps(_forked(name, sound, sound.parent / "place")), flush=True)


@contextlib.contextmanager
def _hostile(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    sound = folder / "sound"
    train_small(sound / "run", steps=20)
    load_run(sound / "run").export(sound / "policy", format="numpy")
    arrays = make_arrays(np.random.default_rng(0))
    fields = ("observations", "actions", "terminals")
    np.savez(sound / "data.npz", **{field: arrays[field] for field in fields})
    names = list(CASES)[:: max(1, len(CASES) // wanted)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.hostile", str(sound), *names],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=60 + 4 * _SECONDS * len(names),
    )
    hold(done.returncode == 0, done.stderr)

    def trial(found: dict[str, Any], random: np.random.Generator) -> dict[str, float]:
        name, seconds, megabytes = found["name"], found["seconds"], found["MB"]
        hold(found["outcome"] == "rejected", f"{name}: {found['outcome']}")
        hold(seconds <= _SECONDS, f"{name}: {seconds:.1f} s")
        hold(megabytes <= _MEGABYTES, f"{name}: {megabytes:.0f} MB")
        hold(not found["seen"], f"{name}: {found['seen']}")
        return {"seconds": seconds, "MB": megabytes}

    yield [partial(trial, json.loads(line)) for line in done.stdout.splitlines()]


ROWS = [
    Row(
        "hostile",
        "hostile files: pickles, object arrays, zip bombs, lying headers, path traversal, in every "
        "format that is read",
        "rejected within 5 s, memory under 1 GiB, no code run",
        ALL,
        8,
        _hostile,
    ),
]

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
