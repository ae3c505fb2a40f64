"""A search on a Ray cluster that is there already, on this machine."""

import csv
import os
import secrets
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
# Nothing listens elsewhere.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
# A token of its own, whatever the home directory holds.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster that `ray start` makes, as the scripts of the docs do, with two cores to share."""
    port = free_port()
    output = tmp_path_factory.mktemp("cluster") / "cluster.txt"
    # Names of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"]
    command += ["--num-cpus=2", "--include-dashboard=false"]
    with output.open("w") as file:
        process = subprocess.Popen(
            command, env=os.environ | LOOPBACK | TOKEN, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while "runtime started" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    sweep_files.write_data(folder)
    (folder / "spec.toml").write_text(SPEC)
    return folder


def sweep(folder, name, *options, environment=TOKEN):
    """Starts the sweep and waits for its end."""
    command = [sys.executable, "-m", "floq", "sweep", str(folder / "spec.toml")]
    command += ["--directory", str(folder / name), *options]
    return subprocess.run(
        command,
        env=os.environ | LOOPBACK | {"FLOQ_DATA": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def table(folder, name):
    with (folder / name / "table.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_search_on_a_given_cluster_is_that_on_its_own(address, folder):
    """4 trials and one run of FQL, each finished once; the same bits as without an address."""
    done = sweep(folder, "given", "--address", address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": finished") == 5
    rows = table(folder, "given")
    assert len(rows) == 5
    assert {row["status"] for row in rows} == {"finished"}
    values = [float(row["bc_coefficient"]) for row in rows if row["trial"]]
    assert len(set(values)) == 4
    assert all(1 <= value <= 1000 for value in values)
    assert not (folder / "given" / ".ray").exists()
    done = sweep(folder, "own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(folder, "own") == rows


def test_a_cluster_that_asks_for_a_token_is_named(address, folder):
    """Status 2, and what to set, instead of an answer that never comes."""
    done = sweep(folder, "refused", "--address", address, environment={"RAY_AUTH_MODE": "disabled"})
    assert done.returncode == 2
    assert address in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr
    assert "Traceback" not in done.stderr
