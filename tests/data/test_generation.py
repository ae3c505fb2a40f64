"""Facts about generated datasets: their form, their physics, and that stopping changes nothing."""

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

import gymnasium
import numpy as np
import ogbench
import pytest

import floq.data.generation.collect as collect
from floq.data.generation import find_recipe, generatable_names, generate
from floq.data.generation.episodes import seed_episode
from floq.data.generation.parts import plan_parts
from floq.data.generation.processes import collect_parts
from floq.data.generation.worker import make_collector

read_with_ogbench: Any = ogbench.make_env_and_datasets
MAZE = "pointmaze-medium-navigate-v0"
# Both come with OGBench's environments on a machine without a screen.
quiet = pytest.mark.filterwarnings("ignore:.*DISPLAY", "ignore:.*precision lowered")


def make(directory: Path, name: str = MAZE, **options: Any) -> Path:
    defaults = {"episodes": 12, "steps": 40, "progress": False}
    return generate(name, directory=directory, **{**defaults, **options})


def content(train: Path) -> list[bytes]:
    """The bytes of the three files of a dataset."""
    validation = train.with_name(f"{train.stem}-val.npz")
    return [path.read_bytes() for path in (train, validation, train.with_suffix(".json"))]


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


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
        collect_parts(parts, **options)

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
    other = make(tmp_path / "other", seed=1, processes=2)
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
        collect_parts(parts, recipe=recipe, seed=0, processes=2, advance=lambda rows: None)


def test_progress_is_shown_only_where_it_is_wanted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """The bar counts the rows of both files on standard error; without it nothing is printed."""
    make(tmp_path / "loud", progress=True)
    loud = capfd.readouterr()
    assert loud.out == ""
    assert re.search(r"520/520 rows\s+[\d,]+ rows/s\s+0:00:00", loud.err)
    make(tmp_path / "quiet", progress=False)
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


@quiet
def test_ogbench_reads_a_maze_and_labels_its_rewards(tmp_path: Path):
    """OGBench gives reward 0 to the rows within 1 of the task's goal and -1 to all others."""
    make(tmp_path, episodes=5, steps=1001)
    task = "pointmaze-medium-navigate-singletask-v0"
    env, train, validation = read_with_ogbench(task, dataset_dir=str(tmp_path))
    assert len(train["rewards"]) == 5 * 1000
    assert len(validation["rewards"]) == 1000
    distance = np.linalg.norm(train["observations"] - env.unwrapped.cur_goal_xy, axis=1)
    np.testing.assert_array_equal(train["rewards"], np.where(distance <= 1.0, 0.0, -1.0))
    assert 0 < np.count_nonzero(train["rewards"] == 0.0) < 2500


@quiet
@pytest.mark.parametrize("name", ["pointmaze-medium-stitch-v0", "pointmaze-giant-navigate-v0"])
def test_maze_transitions_are_real(name: str):
    """The environment, put into a recorded state, answers the recorded action as recorded."""
    collector = make_collector(replace(find_recipe(name), rows=200))
    recorded = collector.collect(0, 0)
    env = read_with_ogbench(name, env_only=True).unwrapped
    env.reset()
    for row in range(199):
        env.set_state(recorded["qpos"][row], recorded["qvel"][row])
        reached = env.step(recorded["actions"][row])[0]
        np.testing.assert_allclose(reached, recorded["observations"][row + 1], atol=1e-4)


@quiet
def test_stitch_stays_near_its_start_and_navigate_travels():
    """A stitch trajectory ends at most four cells from its start; navigation goes on beyond."""
    cells = {}
    for behaviour in ("stitch", "navigate"):
        recipe = find_recipe(f"pointmaze-large-{behaviour}-v0")
        collector = make_collector(replace(recipe, rows=600))
        places = np.stack([collector.collect(0, k)["qpos"] for k in range(8)])
        # A cell is 4 wide.
        cells[behaviour] = np.abs(places[:, -200:] - places[:, :1]).sum(-1).max(-1) / 4
    assert cells["stitch"].max() < 5.0
    assert cells["navigate"].max() > 7.0


@quiet
def test_noise_of_mazes_is_that_of_the_recipe():
    """Without noise a maze action has length 1; with it the clipped lengths scatter."""
    recipe = replace(find_recipe(MAZE), rows=500)
    lengths = {}
    for noise in (0.0, recipe.noise):
        actions = make_collector(replace(recipe, noise=noise)).collect(0, 0)["actions"]
        lengths[noise] = np.linalg.norm(actions, axis=1)
    np.testing.assert_allclose(lengths[0.0], 1.0, atol=1e-3)
    assert recipe.noise == 0.5
    assert 0.2 < lengths[0.5].std() < 0.5


@quiet
def test_cube_transitions_are_real():
    """A cube episode is its own actions, replayed; each state follows from the recorded one."""
    recipe = replace(find_recipe("cube-single-play-v0"), rows=60)
    collector = make_collector(recipe)
    collector.collect(0, 0)
    recorded = collector.collect(0, 1)
    observations = recorded["observations"]
    env: Any = gymnasium.make(
        "cube-single-v0", disable_env_checker=True, mode="data_collection", terminate_at_goal=False
    ).unwrapped
    _, reset_seed = seed_episode(0, 1, 0)
    np.testing.assert_allclose(env.reset(seed=reset_seed)[0], observations[0], atol=1e-5)
    for row in range(59):
        reached = env.step(recorded["actions"][row])[0]
        np.testing.assert_allclose(reached, observations[row + 1], atol=1e-5)

    # Positions and velocities are not the whole state: the arm's pose lags by one simulation step.
    errors = np.empty((59, observations.shape[1]))
    for row in range(59):
        env.set_state(recorded["qpos"][row], recorded["qvel"][row])
        errors[row] = env.step(recorded["actions"][row])[0] - observations[row + 1]
    moves = np.abs(np.diff(observations, axis=0)).max(0)
    assert (moves > 0.05).sum() > 10
    assert (np.abs(errors).max(0) < 0.005 + 0.1 * moves).all()


@pytest.mark.slow
@quiet
@pytest.mark.parametrize(
    "name", [n for n in generatable_names() if not n.startswith("pointmaze-medium")]
)
def test_every_dataset_can_be_generated_and_read(name: str, tmp_path: Path):
    """OGBench labels each family's files, and their episodes do not depend on earlier ones."""
    train = make(tmp_path, name, episodes=2, steps=120, processes=2)
    task = name.removesuffix("-v0") + "-singletask-v0"
    if "teleport" not in name:
        env, data, _ = read_with_ogbench(task, dataset_dir=str(tmp_path))
        assert data["observations"].shape == (2 * 119, *env.observation_space.shape)
        assert data["rewards"].shape == data["masks"].shape == (2 * 119,)
        assert len(np.unique(data["observations"], axis=0)) == 2 * 119
    alone = make_collector(replace(find_recipe(name), rows=120)).collect(0, 1)
    for key, values in load(train).items():
        np.testing.assert_array_equal(values[120:], alone[key])


@pytest.mark.slow
@quiet
def test_noise_of_manipulation_is_that_of_the_recipe():
    """Noise scatters closed-loop actions and roughens plans; random actions fill the range."""
    noisy = replace(find_recipe("cube-single-noisy-v0"), rows=200)
    silent = replace(noisy, noise=0.0, random_actions=0.0)
    gripper = {
        recipe: make_collector(recipe).collect(0, 0)["actions"][:, 4] for recipe in (noisy, silent)
    }
    assert set(np.unique(gripper[silent])) == {-1.0, 1.0}
    assert len(np.unique(gripper[noisy])) > 50
    random = make_collector(replace(noisy, random_actions=1.0)).collect(0, 0)["actions"]
    np.testing.assert_allclose(random.std(0), 1 / np.sqrt(3), atol=0.08)

    play = replace(find_recipe("cube-single-play-v0"), rows=200)
    roughness = {
        noise: np.abs(
            np.diff(
                make_collector(replace(play, noise=noise)).collect(0, 0)["actions"][:, :3], axis=0
            )
        ).mean()
        for noise in (0.0, play.noise)
    }
    assert roughness[play.noise] > 1.2 * roughness[0.0]


@pytest.mark.slow
@quiet
def test_scenes_in_which_the_cube_leaves_sight_are_collected_again(monkeypatch: pytest.MonkeyPatch):
    """A scene episode is drawn anew until its cube stays in sight."""
    from floq.data.generation import manipulation

    verdicts = iter([False, False, True])
    monkeypatch.setattr(manipulation, "_block_in_sight", lambda qpos: next(verdicts))
    collector: Any = make_collector(replace(find_recipe("scene-play-v0"), rows=20))
    third = collector.collect(0, 0)
    assert list(verdicts) == []
    np.testing.assert_array_equal(third["qpos"], collector._attempt(0, 0, 2)["qpos"])
