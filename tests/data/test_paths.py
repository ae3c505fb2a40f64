from pathlib import Path

import pytest

from floq.data.paths import data_directory, dataset_files, dataset_name


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("cube-double-play-singletask-v0", "cube-double-play-v0"),
        ("cube-double-play-singletask-task3-v0", "cube-double-play-v0"),
        ("puzzle-4x4-noisy-singletask-task1-v0", "puzzle-4x4-noisy-v0"),
        ("scene-play-v0", "scene-play-v0"),
    ],
)
def test_dataset_of_a_task(name, dataset):
    """A task's dataset is its name without the words of the single task."""
    assert dataset_name(name) == dataset


@pytest.mark.parametrize(
    "name", ["../scene-play-v0", "a/b-v0", "scene-play", "", "Scene-play-v0", "a-v0\n", "a--b-v0"]
)
def test_names_that_could_leave_the_folder_are_refused(name):
    """Only lower-case words joined by hyphens and ending in a version are names."""
    with pytest.raises(ValueError, match="is not the name of a dataset or task"):
        dataset_files(name)


def test_the_environment_variable_names_the_folder(monkeypatch):
    """FLOQ_DATA wins over OGBench's folder, and an argument wins over both."""
    monkeypatch.delenv("FLOQ_DATA", raising=False)
    assert data_directory() == Path.home() / ".ogbench/data"
    monkeypatch.setenv("FLOQ_DATA", "/somewhere")
    assert dataset_files("scene-play-singletask-v0") == (
        Path("/somewhere/scene-play-v0.npz"),
        Path("/somewhere/scene-play-v0-val.npz"),
    )
    train, _ = dataset_files("scene-play-v0", directory=Path("/else"))
    assert train == Path("/else/scene-play-v0.npz")
