"""How sources are found: by prefix, by what they hold, and formats of one's own."""

import types

import numpy as np
import pytest

import floq
from floq.cli import main
from floq.data import formats
from floq.data.formats import find_source
from floq.data.info import check, describe


@pytest.fixture
def saved(tmp_path, trajectories):
    path = tmp_path / "own.npz"
    floq.Dataset.from_trajectories(**trajectories, layout="states").save(path)
    return path


@pytest.fixture
def text_format(monkeypatch):
    """A format of a user's: numbers in a text."""
    monkeypatch.setattr(formats, "REGISTERED", dict(formats.REGISTERED))
    module = types.ModuleType("text_format")

    def read(path, reading):
        rows = np.loadtxt(path)
        arrays = {"observations": rows[:, :1], "actions": rows[:, 1:2], "rewards": rows[:, 2]}
        return floq.DatasetFile(
            arrays | {"masks": np.ones(len(rows)), "terminals": np.arange(len(rows)) == 3},
            layout="states",
            place=lambda row: f"line {row + 1}",
        )

    module.OPTIONS = ()
    module.recognises = lambda path: path.is_file() and path.read_bytes()[:1] == b"#"
    module.read = read
    floq.register_format("text", module)
    return module


def test_a_format_of_ones_own(tmp_path, text_format):
    """It is read by its prefix and by what it holds, and faults have its own places."""
    path = tmp_path / "data.bin"
    np.savetxt(path, [[0, 0.1, 0], [1, 0.2, 0], [2, 0.3, 1], [3, 0, 0]], header="x")
    assert find_source(path) == find_source(f"text:{path}") == formats.Source("text", path)
    assert floq.Dataset.load(path).size == 3
    assert check(f"text:{path}") == {path: None}
    np.savetxt(path, [[0, 0.1, 0], [1, 7, 0], [2, 0.3, 1], [3, 0, 0]], header="x")
    with pytest.raises(ValueError, match=r"row 1 holds 7\.0.*which is line 2"):
        floq.Dataset.load(path)


def test_formats_that_cannot_be_registered(text_format):
    """A part is missing, or the name is the library's or no prefix."""
    with pytest.raises(TypeError, match="lacks recognises, read"):
        floq.register_format("mine", types.SimpleNamespace(OPTIONS=()))
    for name in ("minari", "Mine", "a b"):
        with pytest.raises(ValueError, match=f"format '{name}' cannot be registered"):
            floq.register_format(name, text_format)


def test_sources_that_are_none(tmp_path, saved):
    """Unknown prefixes, files that are not there, and files of no format are named."""
    with pytest.raises(ValueError, match=r"no format is called 'minary'.*did you mean minari:x"):
        floq.Dataset.load("minary:x")
    for source in ("d4rl:nowhere.hdf5", "nowhere.npz"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            floq.Dataset.load(source, convention="adroit")
    other = tmp_path / "notes.txt"
    other.write_text("no data")
    with pytest.raises(ValueError, match="none of npz, minari, robomimic, d4rl, lerobot, ogbench"):
        floq.Dataset.load(other)
    with pytest.raises(ValueError, match="no source of data is given"):
        floq.Dataset.load([])


def test_what_a_file_holds_counts_and_not_its_name(tmp_path, saved):
    """A saved dataset under another name is read as what it is."""
    other = tmp_path / "demo.hdf5"
    saved.rename(other)
    assert find_source(other).format == "npz"
    assert floq.Dataset.load(other).size == 8


def test_shards_of_ogbench(tmp_path, file_arrays, trajectories, monkeypatch):
    """A folder's training files are one set; without rewards it is checked, and a task is named."""
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path))
    folder = tmp_path / "cube-quadruple-play-100m-v0"
    folder.mkdir()
    for number in range(3):
        for twin in ("", "-val"):
            np.savez(folder / f"{folder.name}-{number:03d}{twin}.npz", **file_arrays)
    assert find_source(folder) == find_source(f"ogbench:{folder.name}")
    facts = describe(folder.name)[folder]
    assert (facts["rows"], facts["trajectories"], facts["format"]) == (33, 9, "ogbench")
    with pytest.raises(ValueError, match=r"whose rewards follow from a task.*floq\.load_task"):
        floq.Dataset.load(f"ogbench:{folder.name}")
    file_arrays["actions"][4, 0] = 7
    np.savez(folder / f"{folder.name}-001.npz", **file_arrays)
    found = str(check(str(folder))[folder])
    assert "-001.npz: actions" in found
    assert "row 4 holds 7.0" in found


def test_shards_that_somebody_else_wrote_beside_saved_ones(tmp_path, trajectories):
    """Their last rows may mean another thing: they are refused, and so are other fields."""
    folder = tmp_path / "mine"
    folder.mkdir()
    bounds = {"action_low": -2.0, "action_high": 2.0}
    floq.Dataset.from_trajectories(**trajectories, **bounds, layout="states").save(
        folder / "a-000.npz"
    )
    np.savez(folder / "a-001.npz", **trajectories, action_low=[-2.0] * 2, action_high=[2.0] * 2)
    with pytest.raises(ValueError, match=r"a-001\.npz: its bounds or version are not those of a-0"):
        floq.Dataset.load(folder)
    np.savez(folder / "a-000.npz", **trajectories)
    np.savez(folder / "a-001.npz", **trajectories, qpos=np.zeros((11, 1)))
    with pytest.raises(ValueError, match=r"a-001\.npz: it holds .*qpos, and a-000\.npz obs"):
        floq.Dataset.load(folder)


def test_visual_sets_stay_bytes(tmp_path, file_arrays):
    """Images are read as uint8, and sound."""
    path = tmp_path / "visual-cube-single-play-v0.npz"
    np.savez(path, **file_arrays | {"observations": np.zeros((11, 8, 8, 3), np.uint8)})
    held = formats.read_source(find_source(path), floq.Reading()).arrays["observations"]
    assert (held.dtype, held.shape) == (np.uint8, (11, 8, 8, 3))
    (facts,) = floq.data.info.describe(str(path)).values()
    assert facts["entries of an observation"] == "an image [8, 8, 3]"


def test_convert(tmp_path, saved, text_format, capsys):
    """Floq's own file holds the same dataset; nothing is overwritten."""
    path, own = tmp_path / "data.txt", tmp_path / "converted.npz"
    np.savetxt(path, [[0, 0.1, 0], [1, 0.2, 0], [2, 0.3, 1], [3, 0, 0]], header="x")
    assert main(["data", "convert", f"text:{path}", str(own)]) == 0
    assert "3 transitions" in capsys.readouterr().out
    assert floq.Dataset.load(own).fingerprint() == floq.Dataset.load(path).fingerprint()
    assert main(["data", "convert", f"text:{path}", str(own)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path, monkeypatch):
    """One sentence with the command that brings them."""
    path = tmp_path / "x"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    found = formats.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "h5py" else found(name)
    )
    with pytest.raises(RuntimeError, match=r'need h5py, .*-m pip install "floq\[formats\]"'):
        floq.Dataset.load(path)
