"""Sweeps without Ray: runs in turn, a time budget, and going on with the next call."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from sweep_files import OWN, SPEC, TASK, brief, write_data, write_own_data

from floq.cli import main
from floq.runs.directory import read_config
from floq.shell import EXIT_INTERRUPTED
from floq.sweeps import turns
from floq.sweeps.table import read_table
from floq.training import load_run, signals

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A spec of two runs and its data, where Ray is not installed."""
    write_data(tmp_path)
    write_own_data(tmp_path)
    (tmp_path / "small.toml").write_text(SPEC)
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    return tmp_path


@pytest.mark.slow
def test_goals_and_sparse_rewards_are_swept(folder, capsys):
    """A dataset's goals as a task; a task with sparse rewards, which is another row in the table.

    A sweep that changes either of them later is refused, as its runs are of the former.
    """
    dataset = "pointmaze-medium-navigate-v0"
    reach = SPEC.replace(TASK, dataset).replace("episodes = 1", "episodes = 5")
    reach = reach.replace("seeds = [0, 1]", "seeds = [0]\ngoals = { policy_future = 'geometric' }")
    sparse = SPEC.replace("seeds = [0, 1]", "seeds = [0]\nreward = 'sparse'")
    for name, text, task in (("reach", reach, dataset), ("few", sparse, f"{TASK} (sparse)")):
        (folder / f"{name}.toml").write_text(text)
        assert main(["sweep", f"{name}.toml"]) == 0
        rows = read_table(folder / "runs" / name / "table.csv")
        assert [(row.task, row.status, row.success is None) for row in rows] == [
            (task, "finished", False)
        ]
    config = read_config(folder / "runs" / "reach" / f"{dataset}-floq-seed0")
    assert config.goals.policy_future == "geometric"
    environment = read_config(folder / "runs" / "few" / f"{TASK}-floq-seed0").environment
    assert environment.kwargs == {"reward": "sparse"}
    capsys.readouterr()
    for name, old, new, named in (
        ("reach", "geometric", "uniform", "goals.policy_future was geometric, is uniform"),
        ("few", "sparse", "dense", "reward was sparse, is dense"),
    ):
        path = folder / f"{name}.toml"
        path.write_text(path.read_text().replace(old, new))
        assert main(["sweep", f"{name}.toml"]) == 2
        assert named in capsys.readouterr().err


def runs(folder):
    """The newest step of each run that is begun, in the order of their names."""
    paths = sorted((folder / "runs" / "small").glob("*/config.json"))
    return [load_run(path.parent).step for path in paths]


@pytest.mark.parametrize(
    ("spec", "task"), [pytest.param(SPEC, TASK, marks=pytest.mark.slow), (OWN, "swing")]
)
def test_its_time_over_it_saves_and_the_next_call_goes_on(spec, task, folder, monkeypatch, capsys):
    """Status 75 with the first run saved halfway and the second one not begun; then 0, all done.

    On a task as on data of one's own, whose name stands in the table.
    """
    (folder / "small.toml").write_text(brief(spec))
    job = turns.describe_job

    def late(directory, run, **settings):
        # The hour is over once the first run has logged its step 10.
        monkeypatch.setattr(signals, "time", types.SimpleNamespace(time=clock))
        return job(directory, run, **settings)

    def clock():
        log = folder / "runs" / "small" / f"{task}-bc-seed0" / "metrics.jsonl"
        return time.time() + 3600 * log.exists()

    with monkeypatch.context() as patch:
        patch.setattr(turns, "describe_job", late)
        assert main("sweep small.toml --minutes 60".split()) == EXIT_INTERRUPTED
    out, err = capsys.readouterr()
    assert "Ray is not installed" in out
    assert "seed0: saved, not finished" in out
    assert "2 runs are left. The same command goes on." in err
    assert runs(folder) == [10]
    monkeypatch.setattr(signals, "time", time)
    assert main("sweep small.toml --minutes 60".split()) == 0
    assert runs(folder) == [20, 20]
    assert "2 are left" in capsys.readouterr().out
    rows = read_table(folder / "runs" / "small" / "table.csv")
    assert [(row.task, row.seed, row.status) for row in rows] == [
        (task, 0, "finished"),
        (task, 1, "finished"),
    ]
    assert all(row.figure is not None for row in rows)


def test_minutes_are_above_0(folder, capsys):
    """Anything else is refused before anything is run."""
    assert main("sweep small.toml --minutes 0".split()) == 2
    assert "minutes is 0.0: give a number above 0" in capsys.readouterr().err


def test_a_signal_between_two_runs_stops_the_sweep(folder, monkeypatch, capsys):
    """SIGTERM while a run's result is noted: what is done stays, and the status is 75."""
    monkeypatch.setattr(turns, "do_job", lambda job: signal.raise_signal(signal.SIGTERM) or "")
    assert main("sweep small.toml".split()) == EXIT_INTERRUPTED
    assert "Stopped. The same command goes on" in capsys.readouterr().err
    assert runs(folder) == []


@pytest.mark.slow
def test_plugins_are_swept_from_the_command_line(tmp_path):
    """An algorithm of one's own, with and without time, in processes that have no Ray."""
    write_data(tmp_path)
    spec = SPEC.split("[algorithms")[0] + "[algorithms.weighted.grid]\nbatch_size = [4]\n"
    (tmp_path / "own.toml").write_text(spec.replace("[0, 1]", "[0]"))
    (tmp_path / "no_ray.py").write_text("import sys\nsys.modules['ray'] = None\n")
    words = [sys.executable, "-m", "floq", "sweep", "own.toml", "--plugin", "own_algorithm"]
    path = os.pathsep.join([str(EXAMPLES), *sys.path])
    for extra, status in ((["--minutes", "0.0001"], EXIT_INTERRUPTED), ([], 0)):
        ended = subprocess.run(
            [*words, "--plugin=no_ray", *extra],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path, "FLOQ_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == status, ended.stderr
    (run,) = (tmp_path / "runs" / "own").glob("*/config.json")
    assert '"weighted"' in run.read_text()
    with pytest.raises(ValueError, match=r"algorithm is 'weighted': there is .*--plugin MODULE"):
        read_config(run.parent)
