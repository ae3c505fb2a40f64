"""LeRobot's videos, as PyAV writes them: decoded once, shown by the right rows, refused if bad."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest

import floq
from floq.cli import main
from floq.data import npz
from floq.data.formats import decoded, video
from floq.extras import MissingExtraError
from tests.data.formats.robot_videos import CAMERAS, shade, write_set, write_video
from tests.data.taken import all_of
from tests.docs.pages import ROOT, blocks, lines

pytestmark = pytest.mark.extras

FRONT = f"videos/{CAMERAS[0]}/chunk-000/file-000.mp4"
READ = {"rewards": "demonstrations"}


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    pytest.importorskip("av")
    return write_set(tmp_path_factory.mktemp("robot") / "set")


@pytest.fixture
def folder(robot, tmp_path, monkeypatch):
    """A set of three episodes, two in the first video of each camera, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(robot, tmp_path / "set")


def seen(dataset):
    """The shade of each transition's frames and the first entry of its state."""
    batch = all_of(dataset)
    parts = dataset.form.unpack(np.asarray(batch.observations))
    return {
        name: values.reshape(len(values), -1)[:, 0].astype(int) for name, values in parts.items()
    }


def check_seen(dataset, rows=13):
    """Frames lie beside the states that they belong to, within what compression does."""
    found = seen(dataset)
    np.testing.assert_array_equal(found["state"], np.arange(rows))
    for number, name in enumerate(("images.front", "images.wrist")):
        due = [shade(row, number) for row in range(rows)]
        np.testing.assert_allclose(found[name], due, atol=4)


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_frames_belong_to_their_rows(tmp_path, codec, monkeypatch):
    """In both cameras and files, in H.264, whose frames come out of order, and in AV1."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    size = (64, 64) if codec == "libsvtav1" else (32, 48)
    dataset = floq.Dataset.load(write_set(tmp_path / "set", codec=codec, size=size), **READ)
    check_seen(dataset)
    shapes = {part.name: part.shape for part in dataset.form.parts}
    assert shapes == {"images.front": (*size, 3), "images.wrist": (*size, 3), "state": (2,)}


def test_decoded_once(folder, monkeypatch, capsys, tmp_path):
    """What is decoded is said before; a second load decodes nothing, wherever the set lies then."""
    first = floq.Dataset.load(folder, **READ)
    said = " ".join(capsys.readouterr().err.split())
    assert "26 frames of 4 videos, 32 x 48 pixels, 0.1 MB, are decoded once" in said
    # Only what is not in the cache is decoded: here, of one new video.
    decode, opened = video.frames, []
    record = lambda one, moments: opened.append(one.path) or decode(one, moments)
    monkeypatch.setattr(video, "frames", record)
    again = floq.Dataset.load(folder.rename(tmp_path / "moved"), **READ)
    assert not opened
    assert capsys.readouterr().err == ""
    assert again.fingerprint() == first.fingerprint()
    write_video(tmp_path / "moved" / FRONT, [99] * 10, size=(32, 48))
    other = floq.Dataset.load(tmp_path / "moved", **READ)
    assert opened == [tmp_path / "moved" / FRONT]
    np.testing.assert_allclose(seen(other)["images.front"][:10], 99, atol=3)


def test_parts_are_chosen_and_resized(folder):
    """A camera that is not chosen is not decoded; frames have the size that was asked for."""
    keys = ("state", "images.wrist")
    dataset = floq.Dataset.load(folder, observation_keys=keys, resize=(8, 12), **READ)
    assert {part.name: part.shape for part in dataset.form.parts} == {
        "images.wrist": (8, 12, 3),
        "state": (2,),
    }
    np.testing.assert_allclose(seen(dataset)["images.wrist"], [shade(r, 1) for r in range(13)], 0.1)
    with pytest.raises(ValueError, match=r"resize is \(0, 12\): give a height and a width"):
        floq.Reading(resize=(0, 12))
    alone = floq.Dataset.load(folder, observation_keys=("state",), **READ)
    assert alone.form is None


def change_info(folder, **changes):
    file = folder / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_short(folder):
    content = (folder / FRONT).read_bytes()
    (folder / FRONT).write_bytes(content[: len(content) // 2])


def other_size(folder):
    write_video(folder / FRONT, [50] * 10, size=(64, 64))


def too_few(folder):
    write_video(folder / FRONT, [50] * 9, size=(32, 48))


def no_video(folder):
    (folder / FRONT).write_bytes(b"no video")


def overwritten(folder):
    """Frames of another kind where the third one's begin."""
    content = bytearray((folder / FRONT).read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 20 : start + 900] = b"\xff" * 880
    (folder / FRONT).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_short, "cut short or damaged: at byte 40 it says"),
        (other_size, r"it holds 64 x 64, and meta/info\.json says 32 x 48"),
        (too_few, r"row 5 of episode 1 needs a frame of its own at 0\.900 s, and the nearest of"),
        (no_video, "it is no MP4 file"),
        (overwritten, "it is damaged or cut short"),
        (lambda folder: (folder / FRONT).unlink(), r"file-000\.mp4: no such file"),
    ],
)
def test_faults_of_videos(folder, spoil, words):
    """The file is named, and the episode where there is one; nothing of it stays in the cache."""
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        floq.Dataset.load(folder, **READ)
    assert str(folder / FRONT) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"video_path": "{video_key.__class__}/../x.mp4"}, "video_path is .*reads sets of v3.0"),
        ({"total_frames": 12}, "total_frames is 12, and the files under data have 13 rows"),
    ],
)
def test_faults_of_the_description_of_videos(folder, changes, words):
    """What meta/info.json says wrongly of them is named."""
    change_info(folder, **changes)
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(folder, **READ)


@pytest.mark.parametrize(
    ("name", "feature", "words"),
    [
        ("observation.images.../../x", {}, "which cannot be that of a folder"),
        ("observation.images.depth", {"shape": [32, 48, 1]}, "floq reads those of three channels"),
        ("observation.images.png", {"dtype": "image"}, "no column observation.images.png; there"),
        ("observation.images.flat", {"shape": [32, 48]}, r"the shape \[32, 48\] of a video"),
        ("observation.images.lost", {}, "no column videos/observation.images.lost/chunk_index"),
    ],
)
def test_faults_of_features(folder, name, feature, words):
    """Cameras that floq cannot read, or that lie nowhere, are refused by name."""
    info = json.loads((folder / "meta" / "info.json").read_text())
    camera = {"dtype": "video", "shape": [32, 48, 3]} | feature
    change_info(folder, features={**info["features"], name: camera})
    with pytest.raises(ValueError, match=words) as caught:
        floq.Dataset.load(folder, **READ)
    assert name in str(caught.value)


def test_frames_that_belong_to_no_row(folder):
    """They are left out, and said to be."""
    write_video(folder / FRONT, [50] * 12, size=(32, 48))
    with pytest.warns(UserWarning, match=r"file-000\.mp4: 2 of 12 frames belong to no row"):
        floq.Dataset.load(folder, **READ)


def test_sizes_are_checked_before_anything_is_decoded(folder, monkeypatch, tmp_path):
    """Frames that neither memory nor disk takes are refused, with the way out."""
    decode = lambda one, moments: pytest.fail("decoded")
    monkeypatch.setattr(video, "frames", decode)
    with monkeypatch.context() as patch:
        patch.setattr(npz, "available_memory", lambda: 50_000)
        with pytest.raises(ValueError, match=r"0\.0 GB of memory.*a smaller resize"):
            floq.Dataset.load(folder, **READ)
    usage = lambda path: shutil._ntuple_diskusage(9, 9, 1000)  # pyright: ignore
    monkeypatch.setattr(decoded.shutil, "disk_usage", usage)
    with pytest.raises(ValueError, match=r"0\.0 MB are free: give them a smaller size by resize"):
        floq.Dataset.load(folder, **READ)
    assert not (tmp_path / "cache").exists()


def test_a_damaged_cache_is_never_used(folder, tmp_path):
    """A bit that was flipped in it is found, and the file to delete is named."""
    floq.Dataset.load(folder, **READ)
    file = sorted((tmp_path / "cache" / "floq" / "frames").iterdir())[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file.name}.*delete it, and they are decoded again"):
        floq.Dataset.load(folder, **READ)


def test_without_pyav(folder, monkeypatch):
    """The command that brings it is in the message."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"need av, .*pip install .floq\[formats\]"):
        floq.Dataset.load(folder, **READ)


def test_the_guides_commands(tmp_path, monkeypatch, capsys):
    """As they stand in docs/guides/own-data.md, on a set of that name; training is short."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "robot", size=(96, 128))
    page = ROOT / "docs" / "guides" / "own-data.md"
    commands = [
        shlex.split(line)[1:]
        for block in blocks(page)
        if "lerobot:robot" in block.text
        for line in lines(block)
    ]
    assert [words[0] for words in commands] == ["data", "data", "train"]
    commands[-1][commands[-1].index("--steps") + 1] = "2"
    for words in commands:
        assert main(words) == 0
    assert "an image [48, 64, 3] 'images.front'" in capsys.readouterr().out
