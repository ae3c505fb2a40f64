"""Data of other formats, written as a folder of floq's own files, some episodes at a time."""

import h5py
import numpy as np
import pytest

from floq.cli import main
from floq.data import converting
from floq.data.converting import convert
from floq.data.dataset import Dataset
from floq.data.formats import as_sources
from floq.data.formats.ogbench import shards
from floq.data.info import check, describe
from floq.data.loading import streamed_source
from floq.data.reading import Reading

VECTORS = Reading(observation_keys=("object",))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Demonstrations of robomimic's, of which two or three fill a file."""
    monkeypatch.setattr(converting, "SHARD_BYTES", 3_000)
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        for number in range(9):
            length = 4 + number % 3
            demo = file.create_group(f"data/demo_{number}")
            for folder in ("obs", "next_obs"):
                demo[f"{folder}/object"] = random.normal(size=(length, 60))
                images = random.integers(0, 256, (length, 4, 8, 3), np.uint8)
                demo[f"{folder}/camera_image"] = images
            demo["actions"] = random.uniform(-1, 1, (length, 2))
            demo["rewards"] = demo["dones"] = np.eye(1, length, length - 1)[0]
    return tmp_path / "demos.hdf5"


@pytest.mark.parametrize("reading", [VECTORS, Reading()], ids=["vectors", "dictionaries"])
def test_folders_hold_the_same_data(source, tmp_path, reading):
    """In several files, of which each is loaded and checked as the whole is."""
    whole = Dataset.load(source, reading=reading)
    assert convert(source, tmp_path / "shards", reading=reading) == whole.size
    files = shards(tmp_path / "shards")
    assert [file.name for file in files][:2] == ["shards-00000.npz", "shards-00001.npz"]
    assert len(files) > 2
    assert Dataset.load(tmp_path / "shards").fingerprint() == whole.fingerprint()
    assert Dataset.load(files).fingerprint() == whole.fingerprint()
    assert check(str(tmp_path / "shards")) == {tmp_path / "shards": None}
    facts = describe(str(tmp_path / "shards"))[tmp_path / "shards"]
    assert facts["transitions"] == whole.size
    assert facts["format"] == "ogbench, in files that floq wrote"


@pytest.mark.parametrize("reading", [VECTORS, Reading()], ids=["vectors", "dictionaries"])
def test_folders_are_streamed(source, tmp_path, reading):
    """What is streamed from one is the same data."""
    convert(source, tmp_path / "shards", reading=reading)
    streamed = streamed_source(as_sources(tmp_path / "shards"), "4kB", None)
    assert streamed is not None
    assert streamed.fingerprint() == Dataset.load(source, reading=reading).fingerprint()


def test_few_episodes_are_held_at_once(source, tmp_path, monkeypatch):
    """As many as make a file, whatever the number of all."""
    held, put = [], converting.together

    def record(stream):
        episodes = list(stream.episodes)
        held.append(sum(one.nbytes for one in episodes[:-1]))
        return put(stream._replace(episodes=iter(episodes)))

    monkeypatch.setattr(converting, "together", record)
    convert(source, tmp_path / "shards", reading=VECTORS)
    assert len(held) > 2
    assert max(held) < 3_000


def test_a_fault_leaves_no_folder(source, tmp_path):
    """It is named by its demonstration, after other files were written."""
    with h5py.File(source, "a") as file:
        file["data/demo_8/actions"][2] = np.nan
    with pytest.raises(ValueError, match=r"holds nan.*row 2 of demo_8"):
        convert(source, tmp_path / "shards", reading=VECTORS)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    (tmp_path / "shards").mkdir()
    with pytest.raises(ValueError, match="shards is there already"):
        convert(source, tmp_path / "shards", reading=VECTORS)


def test_what_a_format_has_no_choice_of_is_refused(source, tmp_path):
    """As where it is loaded, and before anything is written."""
    with pytest.raises(ValueError, match="convention is 'antmaze', and data in the format robo"):
        convert(source, tmp_path / "shards", reading=Reading(convention="antmaze"))
    assert not (tmp_path / "shards").exists()


def test_without_an_episode(tmp_path):
    """It is refused, and no empty folder is left."""
    with h5py.File(tmp_path / "none.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(ValueError, match="it holds no episode"):
        convert(f"robomimic:{tmp_path / 'none.hdf5'}", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_place_that_takes_no_file_is_refused(tmp_path, capsys):
    """Before anything is read; a folder that is not there yet is made."""
    (tmp_path / "file").touch()
    for name in ("out.npz", "out"):
        assert main(["data", "convert", "nowhere.npz", f"{tmp_path}/file/{name}"]) == 2
        assert f"file/{name} cannot be written" in capsys.readouterr().err


def test_files_and_folders_of_files(tmp_path, trajectories, monkeypatch, capsys):
    """A file becomes a folder of one; a folder one of as many; by command, beside the npz file."""
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", **trajectories)
    whole = Dataset.load("own.npz")
    for source, destination in (("own.npz", "one"), ("one", "two"), ("one", "new/again.npz")):
        assert main(["data", "convert", source, destination]) == 0
        assert capsys.readouterr().out == f"{destination}: 8 transitions\n"
        assert Dataset.load(destination).fingerprint() == whole.fingerprint()
        assert main(["data", "info", destination]) == 0
        assert "transitions                8" in capsys.readouterr().out
    assert len(shards(tmp_path / "two")) == 1
