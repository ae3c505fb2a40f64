"""A sweep on Ray whose workers and driver are killed; `make test-sweep` runs these."""

import collections
import contextlib
import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sweep_files

from floq.runs.directory import read_rows

pytest.importorskip("ray", reason="Ray is an extra: `make test-sweep` installs it")
pytestmark = pytest.mark.slow

STEPS, LOG_INTERVAL, SEEDS, KS = 2_000, 200, 20, (1, 2)
WORKERS, WORKER_KILLS, DRIVER_KILLS = 2, 6, 4
SPEC = (
    sweep_files.SPEC.replace("steps = 20\n", f"steps = {STEPS}\n", 1)
    .replace("seeds = [0, 1]", f"seeds = {list(range(SEEDS))}")
    .replace("log_interval = 10", f"log_interval = {LOG_INTERVAL}")
    .replace("evaluation_interval = 20\n", f"evaluation_interval = {STEPS}\n")
    .replace("checkpoint_interval = 10", "checkpoint_interval = 100")
    .replace("critic.integration_steps = 1\n", "")
    + f"""
[algorithms.floq.grid]
critic.integration_steps = {list(KS)}

[resources]
cpus = {len(os.sched_getaffinity(0)) / WORKERS}
"""
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the sweep in a directory; what it prints is added to a file beside it."""
    folder = tmp_path_factory.mktemp("sweeps")
    sweep_files.write_data(folder)
    (folder / "spec.toml").write_text(SPEC)
    # All runs compile the same programs.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

    drivers = []

    def start(name):
        command = [sys.executable, "-m", "floq", "sweep", str(folder / "spec.toml")]
        command += ["--directory", str(folder / name)]
        with (folder / f"{name}.txt").open("a") as output:
            driver = subprocess.Popen(
                command,
                env=os.environ | cache | {"FLOQ_DATA": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        drivers.append(driver)
        return folder / name, driver

    yield start
    # A test that failed may have left one at work.
    for driver in drivers:
        driver.kill()
        driver.wait()


@pytest.fixture(scope="module")
def undisturbed(start):
    directory, driver = start("undisturbed")
    assert driver.wait(1_500) == 0, directory.with_name("undisturbed.txt").read_text()
    return directory


def open_files(pid):
    """What a process has open; nothing if it ends meanwhile."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(link.readlink())
    return found


def trainers(directory):
    """The processes that hold a run's folder: they have its lock open."""
    return sorted(
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if any(
            path.name == ".lock" and path.parent.parent == directory
            for path in open_files(process.name)
        )
    )


def listening(pids):
    """The addresses at which processes wait for connections, in hexadecimal as Linux has them."""
    sockets = set()
    for pid in pids:
        for path in open_files(pid):
            sockets |= set(re.findall(r"socket:\[(\d+)\]", str(path)))
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets}


def children(pid):
    """A process and all that it started, and those in turn."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parts[2])] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_ten_kills_change_no_bit_of_the_table(undisturbed, start):
    """SIGKILL of 6 workers and 4 drivers at random times: each run is finished, exactly once."""
    seed = random.randrange(2**32)
    print(f"seed of the kills: {seed}")
    generator = random.Random(seed)
    kills = ["worker"] * WORKER_KILLS + ["driver"] * DRIVER_KILLS
    generator.shuffle(kills)
    directory, driver = start("disturbed")
    for kill in kills:
        before = time.monotonic()
        pause = generator.uniform(1, 8)
        while not trainers(directory) or time.monotonic() < before + pause:
            assert driver.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < before + 300, "no run began"
            time.sleep(0.01)
        if kill == "worker":
            os.kill(generator.choice(trainers(directory)), signal.SIGKILL)
        else:
            driver.kill()
            driver.wait()
            _, driver = start("disturbed")
    printed = directory.with_name("disturbed.txt")
    assert driver.wait(1_500) == 0, printed.read_text()

    for name in ("table.csv", "table.md"):
        assert (directory / name).read_bytes() == (undisturbed / name).read_bytes()
    with (directory / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["state"] for row in rows}) == SEEDS * len(KS)
    assert {row["status"] for row in rows} == {"finished"}
    ends = collections.Counter(re.findall(r"^\[\d+\] (.*): finished", printed.read_text(), re.M))
    assert max(ends.values()) == 1
    for row in rows:
        for name in ("metrics.jsonl", "timings.jsonl", "evaluations.jsonl"):
            steps = [entry["step"] for entry in read_rows(directory / row["run"] / name)]
            interval = STEPS if name.startswith("evaluations") else LOG_INTERVAL
            assert steps == list(range(interval, STEPS + 1, interval))
    assert trainers(directory) == []


def test_a_finished_sweep_starts_nothing(undisturbed, start):
    """Called again, it writes the same table without a single run, and without Ray."""
    before = (undisturbed / "table.csv").read_bytes()
    checkpoints = sorted(undisturbed.glob("*/checkpoints/*/*"))
    times = [path.stat().st_mtime_ns for path in checkpoints]
    _, driver = start("undisturbed")
    assert driver.wait(120) == 0
    assert (undisturbed / "table.csv").read_bytes() == before
    assert [path.stat().st_mtime_ns for path in checkpoints] == times


def test_servers_listen_on_the_loopback_address_and_ctrl_c_loses_nothing(start):
    """Nothing of an embedded cluster can be reached from outside; SIGINT ends with status 75."""
    directory, driver = start("interrupted")
    deadline = time.monotonic() + 300
    while not trainers(directory):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    addresses = listening(children(driver.pid))
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert addresses
    assert addresses <= loopback
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == 75
    assert "The same command goes on" in directory.with_name("interrupted.txt").read_text()
    with (directory / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == SEEDS * len(KS)
