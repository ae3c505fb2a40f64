"""Runs on data that is read from files: what they note of it, and that they find it again."""

import contextlib
import json

import h5py
import numpy as np
import pytest

import floq
from floq.cli import main
from floq.runs.directory import read_config

SCHEDULE = floq.Schedule(log_interval=2, checkpoint_interval=2)


@pytest.fixture
def maze(tmp_path):
    """A file in D4RL's layout, whose transitions have their next observations."""
    path = tmp_path / "maze.hdf5"
    random = np.random.default_rng(0)
    states = random.normal(size=(61, 2))
    with h5py.File(path, "w") as file:
        file["observations"], file["next_observations"] = states[:-1], states[1:]
        file["actions"] = random.uniform(-1, 1, (60, 2))
        file["rewards"] = random.integers(0, 2, 60).astype(float)
        file["terminals"] = np.zeros(60, bool)
    return path


def tiny():
    return floq.small(floq.FQLConfig(batch_size=4), width=8, depth=1)


def test_a_run_notes_how_its_data_was_read(maze, tmp_path):
    """It goes on from the same file by the same convention, and from no other reading of it."""
    reading = floq.Reading(convention="antmaze")
    data = floq.DataFile(f"d4rl:{maze}", reading=reading)
    options = {"schedule": SCHEDULE, "progress": False, "processes": 0}
    run = floq.train(tiny(), data, steps=2, directory=tmp_path / "run", **options)
    config = read_config(run.directory)
    assert (config.data, config.reading) == (f"d4rl:{maze}", reading)
    assert config.statistics.reward_min == -1
    again = floq.resume(run.directory, steps=4, progress=False, processes=0)
    assert (again.step, again.config.reading) == (4, reading)
    other = data._replace(reading=floq.Reading(convention="adroit"))
    with pytest.raises(ValueError, match="was trained on another dataset"):
        floq.resume(run.directory, dataset=other, steps=6, progress=False, processes=0)
    moved = maze.rename(tmp_path / "moved.hdf5")
    with pytest.raises(FileNotFoundError, match=r"maze\.hdf5 is not there.*--data PATH"):
        floq.resume(run.directory, steps=6, progress=False, processes=0)
    # What is said of a file that has moved is what the run knows.
    found = floq.resume(run.directory, dataset=moved, steps=6, progress=False, processes=0)
    assert (found.config.data, found.config.reading) == (f"d4rl:{moved}", reading)


def test_runs_of_former_versions_say_nothing_of_reading(maze, tmp_path):
    """Their settings are read as those of runs whose files left nothing open."""
    data = floq.DataFile(maze, reading=floq.Reading(convention="adroit"))
    options = {"schedule": SCHEDULE, "progress": False, "processes": 0}
    run = floq.train(tiny(), data, steps=2, directory=tmp_path / "run", **options)
    file = run.directory / "config.json"
    held = json.loads(file.read_text())
    del held["reading"]
    file.write_text(json.dumps(held))
    assert read_config(run.directory).reading is None


@pytest.mark.filterwarnings("ignore:.*")
def test_the_command_line_says_the_same(maze, tmp_path, capsys):
    """`--data` twice joins, `--convention` is noted, and is refused without data."""
    words = ["train", "--data", f"d4rl:{maze}", "--data", str(maze), "--convention", "antmaze"]
    words += ["--algorithm", "bc", "--steps", "2", "--log-interval", "2", "--config.batch-size"]
    words += ["4", "--directory", str(tmp_path / "run")]
    words += ["--evaluation-episodes", "3", "--evaluation-interval", "2"]
    with contextlib.chdir(tmp_path):
        assert main(words) == 0
    said = (
        "Nothing comes of --evaluation-interval and --evaluation-episodes: no environment is given"
    )
    assert said in capsys.readouterr().out
    config = read_config(tmp_path / "run")
    assert config.data == (f"d4rl:{maze}",) * 2
    assert config.reading == floq.Reading(convention="antmaze")
    assert main(["resume", str(tmp_path / "run"), "--convention", "adroit"]) == 2
    assert "--convention speaks of a data file: give --data" in capsys.readouterr().err
