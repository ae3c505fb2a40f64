import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from floq.data.converting import convert
from floq.data.dataset import Dataset
from floq.data.formats import as_sources
from floq.data.info import check, describe
from floq.data.loading import streamed_source


@pytest.fixture
def folder(tmp_path, file_arrays):
    for name in ("scene-play-v0", "scene-play-v0-val"):
        np.savez_compressed(tmp_path / f"{name}.npz", **file_arrays)
    return tmp_path


def test_description_by_hand(folder):
    """The numbers of a description are those of the file, counted by hand."""
    facts = describe("scene-play-v0", directory=folder)
    train, validation = folder / "scene-play-v0.npz", folder / "scene-play-v0-val.npz"
    assert list(facts) == [train, validation]
    assert facts[train] == facts[validation]
    expected = {
        "rows": 11,
        "transitions": 8,
        "trajectories": 3,
        "transitions a trajectory": "1 to 4",
        "entries of an observation": 3,
        "entries of an action": 2,
    }
    assert expected.items() <= facts[train].items()


def test_the_memory_is_that_of_the_dataset(folder, trajectories):
    """The memory that a description gives is what the dataset takes on the device."""
    facts = describe(str(folder / "scene-play-v0.npz"))[folder / "scene-play-v0.npz"]
    dataset = Dataset.from_trajectories(**trajectories)
    assert facts["memory on the device (MB)"] == round(dataset.nbytes / 1e6, 3)


def test_rows_that_are_no_transitions_are_in_no_range(tmp_path, trajectories, file_arrays):
    """Actions and rewards of last rows, which may be padding, are no part of the ranges."""
    is_end = trajectories["terminals"]
    actions = np.where(is_end[:, None], 0.0, 0.5).astype(np.float32)
    path = tmp_path / "padded.npz"
    for arrays in (trajectories, file_arrays):
        np.savez(path, **arrays | {"actions": actions})
        assert describe(str(path))[path]["range of the actions"] == "0.5 to 0.5"
    inner = {field: values[~is_end] for field, values in trajectories.items()}
    apart = {field: inner[field] for field in ("observations", "rewards", "masks")}
    apart["next_observations"] = apart["observations"] + 1
    np.savez(path, actions=actions[~is_end], **apart)
    assert describe(str(path))[path]["range of the actions"] == "0.5 to 0.5"
    file_arrays["terminals"][:] = True
    np.savez(path, **file_arrays)
    assert describe(str(path))[path]["range of the actions"] == "none"


def test_generated_files_tell_their_settings(folder):
    """Where a dataset has a record of its generation, both of its files show it."""
    (folder / "scene-play-v0.json").write_text(json.dumps({"seed": 3}))
    found = describe("scene-play-v0", directory=folder)
    assert [facts["generated with"] for facts in found.values()] == [{"seed": 3}] * 2


def test_check_reports_each_file(folder, file_arrays):
    """A fault in one file is reported for that file, and the other one is still checked."""
    assert set(check("scene-play-singletask-v0", directory=folder).values()) == {None}
    file_arrays["qvel"][5, 2] = np.inf
    np.savez_compressed(folder / "scene-play-v0.npz", **file_arrays)
    found = check("scene-play-v0", directory=folder)
    assert found[folder / "scene-play-v0-val.npz"] is None
    assert "qvel must be finite and within the range of float32: row 5 holds inf" in str(
        found[folder / "scene-play-v0.npz"]
    )


@pytest.mark.parametrize("use", [check, describe])
def test_missing_files_are_named_with_the_commands(folder, use):
    """A file that is not there is named, by a dataset's name or by its own path."""
    (folder / "scene-play-v0-val.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"scene-play-v0-val\.npz.*floq data generate"):
        use("scene-play-v0", directory=folder)
    with pytest.raises(FileNotFoundError, match=r"other\.npz: no such file"):
        use(str(folder / "other.npz"))


def test_a_file_beside_is_found_by_its_name(tmp_path, trajectories, monkeypatch):
    """A file of the current folder needs neither a prefix nor ./ in front of it."""
    monkeypatch.chdir(tmp_path)
    with open("demo.data", "wb") as file:  # noqa: PTH123  (whose name numpy would change)
        np.savez(file, **trajectories)
    assert check("demo.data") == {Path("demo.data"): None}


def test_a_folder_without_training_data_is_refused(tmp_path):
    """It is checked, loaded, streamed and converted with the same words."""
    words = "it holds no npz file of training data"
    assert words in str(check(f"ogbench:{tmp_path}")[tmp_path])
    with pytest.raises(ValueError, match=words):
        Dataset.load(f"ogbench:{tmp_path}")
    with pytest.raises(ValueError, match=words):
        streamed_source(as_sources(f"ogbench:{tmp_path}"), "auto", None)
    with pytest.raises(ValueError, match=words):
        convert(f"ogbench:{tmp_path}", tmp_path / "converted")


def test_reading_files_needs_no_jax():
    """Processes that collect, fetch or check data start without jax."""
    program = (
        "import sys, floq.data.download, floq.data.info, floq.data.ogbench_files;"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
