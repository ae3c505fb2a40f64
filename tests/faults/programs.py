"""floq's command line in processes of its own, at a size at which a start is most of the time."""

import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from floq.disk import read_json
from floq.runs.checkpoint import checkpoint_paths, rows_folder
from floq.runs.directory import EPISODES, EVALUATIONS, EVENTS, METRICS
from floq.runs.shards import Shard, read_shard
from tests.faults.trials import hold

ROOT = Path(__file__).resolve().parents[2]
TASK = "pointmaze-medium-navigate-singletask-v0"
_NETWORKS = "critic policy distilled".split()
SMALL = [
    *"--config.batch-size 8 --config.critic.integration-steps 2".split(),
    *"--config.critic.noise-samples 2 --config.policy.flow-steps 2 --processes 1".split(),
    *(f"--config.{part}.network.hidden-sizes=8" for part in _NETWORKS),
]
_SECONDS = 120


@functools.cache
def _shared() -> tempfile.TemporaryDirectory[str]:
    """A folder for the data and the compiled programs of all rows, which goes with the process."""
    return tempfile.TemporaryDirectory(prefix="floq-faults-shared-")


class Programs:
    """Starts commands on a generated dataset, in a folder where all of them work."""

    def __init__(self, folder: Path):
        """Makes the data, unless it is there.

        Args:
            folder: Where the runs lie.
        """
        self.folder, shared = folder, Path(_shared().name)
        # Compiled once for all processes: a start is then mostly imports.
        self.environment = os.environ | {
            "FLOQ_DATA": str(shared / "data"),
            "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PYTHONUNBUFFERED": "1",
        }
        if not (shared / "data").exists():
            self.run("data", "generate", "pointmaze-medium-navigate-v0", "--episodes", "12",
                     "--seed", "1")  # fmt: skip

    def start(self, *arguments: str) -> "Process":
        """Starts `floq ARGUMENTS`."""
        return Process([sys.executable, "-m", "floq", *arguments], self.folder, self.environment)

    def run(self, *arguments: str) -> str:
        """Runs `floq ARGUMENTS` to its end, which must be a good one, and gives what it said."""
        process = self.start(*arguments)
        status = process.wait()
        hold(status == 0, f"floq {' '.join(arguments)} ended with {status}: {process.said()}")
        return process.said()

    def train(self, run: Path, *arguments: str) -> list[str]:
        """The words of the command that starts a small run."""
        return ["train", TASK, "--directory", str(run), *SMALL, *arguments]


class Process:
    """A command that runs, and what it says."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]):
        """Starts it."""
        self._output = (folder / f"output-{time.monotonic_ns()}").open("w+b")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid

    def said(self) -> str:
        """Standard output and error so far."""
        return Path(self._output.name).read_text(errors="replace")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float = _SECONDS) -> int:
        """Its exit status, negative for a signal."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def send(self, number: int) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def until(self, condition: Callable[[], bool], seconds: float = _SECONDS) -> bool:
        """Waits for a condition; False if the process ends first."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.running():
                return condition()
            hold(time.monotonic() < deadline, f"nothing happened in {seconds} s: {self.said()}")
            time.sleep(0.002)
        return True

    def catches(self, number: int) -> bool:
        """Whether it has a handler for a signal (Linux)."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        mask = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
        return bool(mask and int(mask[1], 16) >> (number - 1) & 1)


def announced(run: Path) -> int:
    """The step of the newest checkpoint that has its name, -1 where there is none."""
    paths = checkpoint_paths(run / "checkpoints")
    return int(paths[-1].name.removeprefix("step_")) if paths else -1


def end_of(run: Path) -> dict[str, str]:
    """SHA-256 of all that a run has come to: its last checkpoint, its buffers and its rows."""
    checkpoint = checkpoint_paths(run / "checkpoints")[-1]
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    buffers = _buffers_of(checkpoint)
    if buffers:
        # It names the shards that the buffers are kept in, which end where something was saved.
        files.remove(checkpoint / "manifest.json")
    files += [run / name for name in (METRICS, EVALUATIONS, EPISODES, EVENTS)]
    # A file of rows without rows and none at all say the same.
    contents = {path: path.read_bytes() if path.exists() else b"" for path in files}
    named = {str(path.relative_to(run)): content for path, content in contents.items()} | buffers
    return {name: hashlib.sha256(content).hexdigest() for name, content in named.items()}


def _buffers_of(checkpoint: Path) -> dict[str, bytes]:
    """Each field of what the environments gave, in the order of their steps; empty offline."""
    folder = rows_folder(checkpoint.parent)
    named = read_json(checkpoint / "manifest.json").get("shards", {})
    shards = [read_shard(folder, Shard(*item)) for item in named.items()]
    # The counts say where a shard ends.
    fields = shards[0].keys() - {"counts"} if shards else ()
    return {
        f"buffers/{name}": b"".join(shard[name].tobytes() for shard in shards) for name in fields
    }


def hold_same_end(run: Path, uncut: dict[str, str]) -> None:
    """What a run has come to must be what the uncut one came to, to the bit."""
    found = end_of(run)
    wrong = [name for name in sorted(found.keys() | uncut) if found.get(name) != uncut.get(name)]
    hold(not wrong, f"differs from the uncut run: {', '.join(wrong)}")
