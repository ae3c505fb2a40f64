"""Generated datasets: their form, and that stopping changes nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import MAZE, load, make

import floq.data.generation.collect as collect
from floq.data.generation import find_recipe
from floq.data.generation.collect import collect_parts
from floq.data.generation.parts import plan_parts


def content(train: Path) -> list[bytes]:
    """The bytes of the three files of a dataset."""
    validation = train.with_name(f"{train.stem}-val.npz")
    return [path.read_bytes() for path in (train, validation, train.with_suffix(".json"))]


def interrupt(monkeypatch: pytest.MonkeyPatch, directory: Path, **options) -> list[Path]:
    """Runs a generation that stops before its parts are merged, and returns its part files."""

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(collect, "_finish", stop)
        with pytest.raises(KeyboardInterrupt):
            make(directory, **options)
    return sorted(directory.glob(".*/*.npz"))


def record_missing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The episodes of the parts that later calls collect, filled while they run."""
    collected: list[tuple[int, int]] = []

    def spy(parts, **options):
        collected.extend((part.start, part.stop) for part in parts)
        return collect_parts(parts, **options)

    monkeypatch.setattr(collect, "collect_parts", spy)
    return collected


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 300.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "timed out"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training file of a small dataset that one process made without a stop."""
    return make(tmp_path_factory.mktemp("undisturbed"))


def test_the_number_of_processes_does_not_change_a_byte(undisturbed: Path, tmp_path: Path):
    """Two processes write the same files as one; another seed gives other data."""
    assert content(make(tmp_path, processes=2)) == content(undisturbed)
    other = make(tmp_path / "other", seed=1)
    assert content(other)[0] != content(undisturbed)[0]


def test_files_have_the_published_form(tmp_path: Path):
    """Trajectories have the asked length and end in a terminal; validation has a tenth of them."""
    train = make(tmp_path, episodes=20, steps=30)
    for path, episodes in ((train, 20), (train.with_name(f"{MAZE}-val.npz"), 2)):
        arrays = load(path)
        assert {name: (a.dtype, a.shape) for name, a in arrays.items()} == {
            "observations": (np.float32, (30 * episodes, 2)),
            "actions": (np.float32, (30 * episodes, 2)),
            "terminals": (np.bool_, (30 * episodes,)),
            "qpos": (np.float32, (30 * episodes, 2)),
            "qvel": (np.float32, (30 * episodes, 2)),
        }
        ends = np.flatnonzero(arrays["terminals"])
        assert ends.tolist() == list(range(29, 30 * episodes, 30))
        assert np.abs(arrays["actions"]).max() <= 1.0
    starts = load(train)["observations"].reshape(20, 30, 2)[:, 0]
    assert len(np.unique(starts, axis=0)) == 20
    settings = json.loads((tmp_path / f"{MAZE}.json").read_text())
    assert (settings["name"], settings["episodes"], settings["seed"]) == (MAZE, 20, 0)
    assert set(settings["versions"]) >= {"ogbench", "mujoco", "numpy"}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def start_and_stop(directory: Path, stop: signal.Signals, **options) -> None:
    """Starts a generation in its own process group, and stops it once it has written a part."""
    before = len(list(directory.glob(".*/*.npz")))
    script = (
        "from pathlib import Path; from floq.data.generation import generate; "
        f"generate({MAZE!r}, directory=Path({str(directory)!r}), processes=2, **{options!r})"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(lambda: len(list(directory.glob(".*/*.npz"))) > before or parent.poll() is not None)
    workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    if stop == signal.SIGINT:
        # A terminal interrupts the whole group.
        os.killpg(parent.pid, stop)
    else:
        os.kill(parent.pid, stop)
    assert parent.wait() != 0
    assert len(workers) == 2
    wait_for(lambda: not any(alive(int(pid)) for pid in workers))


@pytest.mark.slow
def test_a_stopped_run_leaves_no_half_file_and_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After Ctrl-C and after a kill, no process and no file is left; the same call continues."""
    options: dict[str, Any] = {"episodes": 60, "steps": 400, "seed": 5}
    for stop in (signal.SIGINT, signal.SIGKILL):
        start_and_stop(tmp_path, stop, **options)
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    kept = {tuple(int(k) for k in path.stem.split("-")) for path in tmp_path.glob(".*/*.npz")}
    assert len(kept) >= 2

    collected = record_missing(monkeypatch)
    continued = content(make(tmp_path, **options))
    plan = {(0, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 60), (60, 66)}
    assert set(collected) == plan - kept
    assert continued == content(make(tmp_path / "uncut", processes=2, **options))


def test_only_whole_parts_of_the_same_settings_are_used_again(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A damaged part is collected anew, and parts of another seed are left alone."""
    parts = interrupt(monkeypatch, tmp_path)
    assert [path.stem for path in parts] == [
        "0000000-0000010",
        "0000010-0000012",
        "0000012-0000013",
    ]
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    interrupt(monkeypatch, tmp_path, seed=1)
    assert len(list(tmp_path.glob(".*/*.npz"))) == 6
    collected = record_missing(monkeypatch)
    assert content(make(tmp_path)) == content(undisturbed)
    assert collected == [(10, 12)]
    assert len(list(tmp_path.glob(".*/*.npz"))) == 3


@pytest.mark.parametrize("placed", [1, 2])
def test_an_interrupted_placing_of_the_files_is_completed(
    placed: int, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run that died between its settings, its validation and its training file is continued."""
    moves = []

    def replace_few(source: Path, target: Path):
        if len(moves) == placed:
            raise KeyboardInterrupt
        moves.append(target)
        source.replace(target)

    with monkeypatch.context() as patch:
        patch.setattr(collect, "replace_file", replace_few)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    assert not (tmp_path / undisturbed.name).exists()
    collected = record_missing(monkeypatch)
    assert content(make(tmp_path)) == content(undisturbed)
    assert collected == []


def test_existing_data_is_never_overwritten(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The same settings find the files there; other settings and foreign files are refused."""
    shutil.copytree(undisturbed.parent, tmp_path, dirs_exist_ok=True)
    train = tmp_path / undisturbed.name
    before, modified = content(train), train.stat().st_mtime_ns
    assert make(tmp_path, progress=True) == train
    assert "already there" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ValueError, match=r"other settings \(seed 0, not 1\).*Delete it, or"):
        make(tmp_path, seed=1)
    train.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match="was not generated here"):
        make(tmp_path)
    train.with_suffix(".json").write_bytes(before[2])
    assert content(train) == before
    assert train.stat().st_mtime_ns == modified


def test_a_failing_process_is_reported_with_its_last_words(tmp_path: Path):
    """The message of a failed collection holds the error that the process printed."""
    recipe = replace(find_recipe(MAZE), environment="pointmaze-tiny-v0")
    parts = plan_parts(0, 20, directory=tmp_path)
    with pytest.raises(RuntimeError, match=r"status 1[\s\S]*pointmaze-tiny"):
        list(collect_parts(parts, recipe=recipe, seed=0, processes=2))


def test_progress_is_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A bar counts the rows of both files on a terminal; elsewhere there is a line now and then."""
    monkeypatch.setattr("floq.progress._PLAIN_SECONDS", 0.0)
    make(tmp_path / "lines", progress=True)
    lines = capfd.readouterr()
    assert lines.out == ""
    assert re.search(r"row 40 of 520, [\d,.]+ rows/s, \d+ min left", lines.err)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    make(tmp_path / "bar", progress=True)
    assert re.search(r"520/520 [\d,.]+ rows/s, left", capfd.readouterr().err)
    monkeypatch.undo()
    make(tmp_path / "quick", progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pointmaze-huge-navigate-v0",
            "These can: pointmaze-medium-navigate-v0, .*puzzle-4x6-noisy",
        ),
        ("antmaze-large-navigate-v0", "experts.*floq data download antmaze-large-navigate-v0"),
        ("humanoidmaze-medium-stitch-v0", "experts.*floq data download humanoidmaze-medium"),
    ],
)
def test_names_that_cannot_be_generated_are_refused(name: str, message: str, tmp_path: Path):
    """An unknown name gets the list of names, an expert's dataset the way to download it."""
    with pytest.raises(ValueError, match=message):
        make(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["episodes", "processes", "seed", "steps"])
def test_numbers_out_of_range_are_refused(option: str, tmp_path: Path):
    """A negative number is refused by name before anything is written."""
    options: dict[str, Any] = {option: -1}
    with pytest.raises(ValueError, match=f"{option} is -1"):
        make(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
