import sys

import pytest

from floq.doctor import (
    check_compiled,
    check_data,
    check_extra,
    check_package,
    check_python,
    diagnose,
    probe,
)
from floq.extras import install_command


@pytest.mark.slow
def test_diagnosis_covers_everything_and_says_how_to_mend(tmp_path, monkeypatch):
    """Each part is looked at once; whatever is not ok comes with a remedy; the device computes."""
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path))
    findings = {finding.name: finding for finding in diagnose()}
    expected = {
        "python",
        "jax",
        "ogbench",
        "matplotlib",
        "device",
        "rendering",
        "data folder",
        "datasets",
    }
    assert expected <= findings.keys()
    for finding in findings.values():
        assert (finding.status == "ok") == (not finding.remedy)
    assert findings["device"].status != "fail"
    assert findings["datasets"].message == "none yet"


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        ("print('loading'); print('cpu: 1')", "ok", "cpu: 1"),
        ("raise ValueError('no display')", "fail", "failed: ValueError: no display"),
        ("import os; os.kill(os.getpid(), 11)", "fail", "killed by signal 11: it said nothing"),
    ],
)
def test_a_probe_survives_whatever_it_runs(script, status, message):
    """A process that answers, raises or crashes gives its last line and how it ended."""
    found = probe([sys.executable, "-c", script])
    assert (found.status, found.message) == (status, message)


def test_a_probe_does_not_wait_for_ever(monkeypatch):
    """A driver that hangs is a finding, not a hanging doctor."""
    monkeypatch.setattr("floq.doctor._PROBE_SECONDS", 0.2)
    found = probe([sys.executable, "-c", "import time; time.sleep(60)"])
    assert found.status == "fail"
    assert "no answer" in found.message


def test_a_missing_package_fails_with_its_remedy():
    """The command that installs it is the remedy."""
    assert check_package("jax").status == "ok"
    finding = check_package("no-such-package")
    assert (finding.status, finding.remedy) == ("fail", "pip install no-such-package")


def test_a_missing_extra_is_no_failure(monkeypatch):
    """Nobody needs all of them; the command that brings it is the remedy."""
    assert check_extra("plot").status == "ok"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    finding = check_extra("plot")
    assert (finding.status, finding.remedy) == ("warn", install_command("plot"))


def test_a_python_that_is_too_new_to_be_tested_is_said():
    """It may work, so that it is no failure."""
    assert [check_python(version).status for version in ((3, 11), (3, 13))] == ["ok", "ok"]
    assert check_python((3, 14)).status == "warn"


def test_compiled_programs_that_cannot_be_kept_are_said(tmp_path):
    """A file in the folder's place is one of the ways."""
    assert check_compiled(tmp_path)[0].status == "ok"
    (tmp_path / "file").touch()
    assert check_compiled(tmp_path / "file")[0].status == "warn"


def test_data_folder(tmp_path):
    """A folder yet to be made is fine, a file in its place is not, and datasets are listed."""
    statuses = [finding.status for finding in check_data(tmp_path / "to" / "come")]
    assert statuses == ["ok", "warn"]
    (tmp_path / "cube-single-play-v0.npz").touch()
    (tmp_path / "scene-play-v0.npz").touch()
    (tmp_path / "scene-play-v0-val.npz").touch()
    datasets = check_data(tmp_path)[1]
    assert datasets.message == "cube-single-play-v0 (no validation file), scene-play-v0"
    (blocked,) = check_data(tmp_path / "scene-play-v0.npz" / "data")
    assert (blocked.status, "FLOQ_DATA" in blocked.remedy) == ("fail", True)


def test_little_space_is_a_warning(tmp_path, monkeypatch):
    """A disk that the next dataset would fill is named before that."""
    monkeypatch.setattr("floq.doctor._FREE_GIGABYTES", 1e12)
    assert check_data(tmp_path)[0].status == "warn"
