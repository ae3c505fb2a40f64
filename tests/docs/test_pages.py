"""The commands and the examples of the README and the guides run, at a small size."""

import contextlib
import dataclasses
import functools
import http.server
import io
import itertools
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium
import jaxtyping
import numpy as np
import pytest

import floq
from floq import algorithms, training
from floq.cli import main
from floq.evaluation import evaluate as evaluate_fully
from floq.presets import methods
from floq.presets.changes import with_networks
from floq.reports import figures
from floq.studies import value_benchmark
from floq.studies.value_benchmark import benchmark
from floq.studies.value_program import Training
from tests.docs.pages import (
    PAGES,
    ROOT,
    blocks,
    command_name,
    file_name,
    lines,
    name_of,
    write_files,
)

SCHEDULE = floq.Schedule(log_interval=2, evaluation_interval=4, evaluation_episodes=1)
GOALS = 5
"""An evaluation has as many episodes at least, where OGBench's goals take turns."""
TRAINING = {"--log-interval": 2, "--evaluation-interval": 4, "--evaluation-episodes": 1}
# What takes the place of an option's value where it stands, and what is always said.
SMALLER = {
    "train": {"--steps": 4, "--online-steps": 8, "--warmup": 2},
    "resume": {"--steps": 6},
    "finetune": {"--online-steps": 8},
}
ALWAYS = {
    "train": {"--processes": 0, "--seeds": 0, **TRAINING},
    "resume": {"--processes": 0},
    "finetune": {"--processes": 0, **TRAINING},
    "evaluate": {"--episodes": GOALS, "--processes": 0},
    "inspect": {"--episodes": 1, "--processes": 0, "--integration-steps": 1},
    "data generate": {"--episodes": 1},
    "study": {"--seeds": 0, "--updates": 12, "--variants": "K=1"},
}
PLACES = {"report": "report.html", "inspect": "inspection.html"}
"""The pages that commands leave in the folder of the run."""
QUICK = {ROOT / "README.md", ROOT / "docs" / "quickstart.md"}
"""The pages that run in `make test`; the others do in `make test-docs`."""


def tiny(config):
    """The settings with little work in an update."""
    config = with_networks(config, hidden_sizes=(8,))
    few = {"batch_size": 8, "distillation_samples": 0}
    # What acts by candidates alone needs one; the others act by their one-step policy.
    few |= {"candidates": min(getattr(config, "candidates", 0), 1), "target_candidates": 0}
    parts = {
        "critic": {"integration_steps": 1, "noise_samples": 1, "quantile_samples": 1},
        "policy": {"flow_steps": 1},
    }
    for part, values in parts.items():
        if hasattr(config, part):
            few[part] = _replaced(getattr(config, part), values)
    return _replaced(config, few)


def _replaced(settings, values):
    names = {field.name for field in dataclasses.fields(settings)}
    return dataclasses.replace(settings, **{n: v for n, v in values.items() if n in names})


def train(config, dataset, *, steps=4, **options):
    schedule = SCHEDULE
    if options.get("goals"):
        schedule = dataclasses.replace(schedule, evaluation_episodes=GOALS)
    options |= {"schedule": schedule, "processes": 0, "progress": False}
    return training.train(tiny(config), dataset, steps=min(steps, 4), **options)


def finetune(run, *, online, **options):
    options |= {"schedule": SCHEDULE, "processes": 0, "progress": False}
    return training.finetune(run, online=dataclasses.replace(online, steps=8), **options)


def evaluate(policy, environment, *, seed=0, **_):
    return evaluate_fully(policy, environment, episodes=1, seed=seed, processes=0)


class Evaluator(floq.Evaluator):
    def __init__(self, environment):
        super().__init__(environment, processes=0)

    def evaluate(self, policy, **options):
        return super().evaluate(policy, **options | {"episodes": 2})


def short_benchmark(create, *, seeds, **options):
    options = {"training": Training(updates=24, points=2), **options}
    return benchmark(create, seeds=seeds[:1], **options)


def shrunk(words: list[str]) -> list[str]:
    """The command's words without `floq`, with what makes it small."""
    name = command_name(words)
    for option, value in SMALLER.get(name, {}).items():
        for index, word in enumerate(words):
            if word == option and words[index + 1] != "0":
                words[index + 1] = str(value)
    added = ["--steps", "4"] if name == "train" and "--steps" not in words else []
    always = ALWAYS.get(name, {}) | ({"--evaluation-episodes": GOALS} if "--goals" in words else {})
    for option, value in always.items():
        if option in words:
            start = words.index(option)
            end = start + 1
            while end < len(words) and not words[end].startswith("--"):
                end += 1
            del words[start:end]
        added += [option, str(value)]
    return [*words[1:], *added]


def put_cubes_on_their_goals(path: Path, task: str) -> None:
    """Solves the task in one row: one trajectory alone has the same reward everywhere."""
    env = floq.make_env(task)
    env.reset(seed=0)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for cube, goal in enumerate(env.unwrapped._data.mocap_pos):
        arrays["qpos"][5, 14 + 7 * cube : 17 + 7 * cube] = goal
    np.savez_compressed(path, **arrays)
    env.close()


@pytest.fixture(scope="module")
def brief():
    """Episodes last a few steps."""
    import ogbench  # noqa: F401 - registers its environments

    with pytest.MonkeyPatch.context() as patch:
        for name, spec in gymnasium.registry.items():
            if name.startswith(("Pendulum-v1", "cube-double-singletask", "pointmaze-medium-v0")):
                patch.setattr(spec, "max_episode_steps", 5)
        yield


@pytest.fixture(scope="module")
def begun(brief, tmp_path_factory):
    """A folder with the quickstart's data and run, from which other pages start."""
    folder = tmp_path_factory.mktemp("begun")
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 3))
    actions = random.uniform(-2, 2, size=(100, 1))
    dataset = floq.Dataset.from_transitions(
        states[:-1],
        actions,
        -np.square(actions[:, 0]),
        np.ones(100),
        states[1:],
        action_low=-2.0,
        action_high=2.0,
    )
    dataset.save(folder / "pendulum.npz")
    with contextlib.chdir(folder):
        config = floq.preset("floq-small")
        train(config, "pendulum.npz", env="Pendulum-v1", directory="runs/pendulum")
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing: the commands' own messages are what a failure shows."""


@pytest.fixture
def desk(begun, folder, monkeypatch):
    """A folder to work in, in which everything is small and nothing lasts."""
    for path in begun.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    config = (folder / "runs/pendulum/config.json").read_text()
    (folder / "runs/pendulum/config.json").write_text(config.replace(str(begun), str(folder)))
    (folder / "data").mkdir()
    (folder / "mirror").mkdir()
    monkeypatch.setenv("FLOQ_DATA", str(folder / "data"))
    published = methods.find_preset

    def find_preset(*names):
        found = published(*names)
        return found._replace(config=tiny(found.config))

    monkeypatch.setattr(methods, "find_preset", find_preset)
    small = {"train": train, "finetune": finetune, "evaluate": evaluate, "Evaluator": Evaluator}
    for name, stand_in in small.items():
        monkeypatch.setattr(floq, name, stand_in, raising=False)
    monkeypatch.setattr(value_benchmark, "benchmark", short_benchmark)
    # A third of a page's time otherwise; tests/reports has figures of every kind written.
    monkeypatch.setattr(figures, "to_svg", lambda figure: b"<svg/>")
    handler = functools.partial(Quiet, directory=str(folder / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("FLOQ_MIRRORS", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def run_command(line: str, desk: Path) -> None:
    """Runs a line of a page, small."""
    words = line.split()
    if words[1:3] == ["data", "download"]:
        for file in (desk / "data").glob(f"{words[3]}*.npz"):
            file.rename(desk / "mirror" / file.name)
    words = shrunk(words)
    said = io.StringIO()
    # Shapes as types do not know the symbolic sizes that programs are exported with.
    jaxtyping.config.update("jaxtyping_disable", words[0] == "export")
    try:
        with contextlib.redirect_stderr(said):
            assert main(words) == 0, f"{line}: {said.getvalue()}"
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    if words[0] in PLACES:
        # Of several runs, in the folder that holds them all.
        named = itertools.takewhile(lambda word: not word.startswith("-"), words[1:])
        assert (desk / os.path.commonpath([*named]) / PLACES[words[0]]).exists()
    if words[:3] == ["data", "generate", "cube-double-play-v0"]:
        path = desk / "data" / "cube-double-play-v0.npz"
        put_cubes_on_their_goals(path, "cube-double-play-singletask-v0")


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[] if p in QUICK else pytest.mark.slow, id=name_of(p)) for p in PAGES],
)
@pytest.mark.filterwarnings("ignore:.*")
def test_what_a_page_shows_runs(page, desk):
    """In its order, small, in a folder with the quickstart's run."""
    names: dict = {}
    if 'directory="runs/pendulum"' in page.read_text():
        shutil.rmtree(desk / "runs")
    write_files(page, desk)
    for block in blocks(page):
        if file_name(block) or not block.is_run:
            continue
        if block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
        elif block.language == "bash":
            for line in lines(block):
                if not line.startswith("make "):
                    run_command(line, desk)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*")
def test_the_hosts_of_the_page_train_together(desk, capsys):
    """The commands with a coordinator, at the same time and small, leave one run, told once."""
    run_command("floq data generate cube-double-play-v0", desk)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    page = ROOT / "docs" / "guides" / "devices.md"
    found = [line for block in blocks(page) for line in lines(block) if "--coordinator 127" in line]
    assert len(found) == 2
    processes = []
    network = "--config.critic.network.hidden-sizes 16 --config.policy.network.hidden-sizes 16"
    network += " --config.distilled.network.hidden-sizes 16 --config.batch-size 8 --steps 4"
    for line in found:
        words = shrunk(line.split())
        words[words.index("--coordinator") + 1] = address
        words = [sys.executable, "-m", "floq", *words, *network.split()]
        words += ["--directory", "runs/hosts"]
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ))
        )
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert ["floq report" in output for output, _ in outputs] == [True, False]
    assert main(["resume", "runs/hosts"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert main(["report", "runs/hosts"]) == 0
    assert (desk / "runs/hosts/report.html").exists()


def test_the_page_of_runs_names_every_metric():
    """Each algorithm's metrics are in docs/guides/runs.md by name."""
    import jax
    import jax.numpy as jnp

    text = (ROOT / "docs" / "guides" / "runs.md").read_text()
    statistics = floq.Statistics(2, 1, 0.0, 1.0)
    rows = jnp.zeros((8, 2)), jnp.zeros((8, 1))
    one = jnp.zeros(8)
    batch = floq.Batch(*rows, one, one, rows[0], rows[1], one)
    missing = set()
    for algorithm in algorithms.REGISTERED.values():
        config = tiny(algorithm.Config()) if algorithm.__name__.startswith("floq.") else None
        if config is None:
            continue  # A test's own.

        def metrics(algorithm=algorithm, config=config):
            key = jax.random.key(0)
            state = algorithm.init(config, statistics, key=key)
            return algorithm.update(config, state, batch, key=key)[1]

        missing |= {name for name in jax.eval_shape(metrics) if f"`{name}`" not in text}
    assert not missing


@pytest.mark.filterwarnings("ignore:.*")
def test_the_page_of_runs_names_every_file(desk):
    """What a run in both phases leaves behind is in the page's tree."""
    run = floq.finetune("runs/pendulum", online=floq.Online(steps=8), directory="runs/both")
    text = (ROOT / "docs" / "guides" / "runs.md").read_text()
    names = {path.name for path in run.directory.rglob("*") if not path.name.startswith(".")}
    steps = {name for name in names if name.startswith("step_")}
    shards = {path.name for path in (run.directory / "checkpoints" / "rows").iterdir()}
    assert steps
    assert not {name for name in names - steps - shards if name not in text}
