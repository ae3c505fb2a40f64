"""A search on a Ray cluster that is there already: two nodes, both on this machine."""

import csv
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sweep_files

pytest.importorskip("ray", reason="Ray is an extra: `make test-sweep` installs it")
pytest.importorskip("optuna", reason="Optuna is an extra: `make test-sweep` installs it")
pytestmark = pytest.mark.slow

SPEC = (
    sweep_files.SPEC.replace("seeds = [0, 1]", "seeds = [0]")
    + """
[algorithms.floq.search]
bc_coefficient = { low = 1, high = 1000, log = true }

[algorithms.fql.settings]
batch_size = 4
critic.network.hidden_sizes = [8]
policy.network.hidden_sizes = [8]

[search]
trials = 4
parallel = 2
"""
)
# As the docs say for a cluster on one machine alone: nothing listens elsewhere.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster of two nodes of one core each, which the scripts of the docs start likewise."""
    ray = str(Path(sys.executable).with_name("ray"))
    address = f"127.0.0.1:{free_port()}"
    output = tmp_path_factory.mktemp("cluster") / "cluster.txt"
    # Names of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="floq-"))
    port = address.partition(":")[2]
    head = ["--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
    started = []
    try:
        with output.open("w") as file:
            for place in (head, [f"--address={address}"]):
                command = [ray, "start", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--block"]
                started.append(
                    subprocess.Popen(
                        [*command, *place],
                        env=os.environ | LOOPBACK,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
                time.sleep(10)
        assert [process.poll() for process in started] == [None, None], output.read_text()
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    sweep_files.write_data(folder)
    (folder / "spec.toml").write_text(SPEC)
    return folder


def sweep(folder, name, *options):
    """Runs the sweep to its end; what it printed, and the rows of its table."""
    command = [sys.executable, "-m", "floq.cli", "sweep", str(folder / "spec.toml")]
    command += ["--directory", str(folder / name), *options]
    done = subprocess.run(
        command,
        env=os.environ | LOOPBACK | {"FLOQ_DATA": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / name / "table.csv").open() as file:
        return done.stdout, list(csv.DictReader(file))


def test_a_search_on_a_given_cluster_is_that_on_its_own(address, folder):
    """4 trials and one run of FQL, each finished once; the same bits as without an address."""
    printed, rows = sweep(folder, "given", "--address", address)
    assert len(rows) == 5
    assert {row["status"] for row in rows} == {"finished"}
    assert printed.count(": finished") == 5
    values = [float(row["bc_coefficient"]) for row in rows if row["trial"]]
    assert len(set(values)) == 4
    assert all(1 <= value <= 1000 for value in values)
    assert not (folder / "given" / ".ray").exists()
    _, own = sweep(folder, "own")
    assert own == rows


def test_an_address_without_a_cluster_is_named(folder):
    """Status 2 and the address, rather than waiting for ever."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "floq.cli", "sweep", str(folder / "spec.toml")]
    command += ["--directory", str(folder / "nobody"), "--address", address]
    done = subprocess.run(
        command,
        env=os.environ | LOOPBACK | {"FLOQ_DATA": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert address in done.stderr
    assert "Traceback" not in done.stderr
