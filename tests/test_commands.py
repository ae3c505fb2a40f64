"""Every command and example of the README and the docs is run, at a small size."""

import dataclasses
import http.server
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import floq
from floq.cli import main
from floq.presets.methods import small
from floq.training import Schedule

ROOT = Path(__file__).parent.parent
# Its commands speak of a module and a file of the reader's, which its own test makes.
OWN = ROOT / "docs" / "environments.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {OWN})]
NETWORK = "--config.critic.network.hidden-sizes 16 --config.policy.network.hidden-sizes 16".split()
TRAINING = [
    *"--steps 4 --log-interval 2 --evaluation-interval 4 --evaluation-episodes 1".split(),
    *"--config.batch-size 8 --config.critic.integration-steps 2 --processes 1".split(),
    *NETWORK,
    *"--config.distilled.network.hidden-sizes 16".split(),
]
SMALL = {
    "study": ["--seeds", "0", "--updates", "12", "--variants", "K=1"],
    "data generate": ["--episodes", "1"],
    "train": TRAINING,
    "evaluate": ["--episodes", "1", "--processes", "1"],
    "inspect": "--episodes 1 --processes 1 --integration-steps 1".split(),
}
OWN_SMALL = {
    "train": TRAINING,
    "resume": ["--steps", "6"],
    "evaluate": SMALL["evaluate"],
    "finetune": "--steps 4 --evaluation-episodes 1 --warmup 2 --processes 1".split(),
}
# Tests of their own run these: the demo's is below, the others in test_cli.py, test_online.py and
# experiments/sweeps.
ELSEWHERE = {
    *("demo", "sweep", "report runs/spec"),
    *("COMMAND", "train TASK", "resume RUN", "finetune runs/NAME"),
}


def commands() -> list[str]:
    """The `floq …` lines of all code blocks and inline code, in order, without repetition."""
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in block.splitlines()]
        # Inline, a command without arguments is only its name.
        lines += re.findall(r"`(floq (?:data )?[a-z]+ [^`\n]+)`", text)
        found += [line.split("#")[0].strip() for line in lines if line.startswith("floq ")]
    return list(dict.fromkeys(found))


def shrunk(command: str) -> list[str]:
    """The command's words, with what makes it small."""
    words = shlex.split(command)[1:]
    name = " ".join(words[:2]) if words[0] == "data" else words[0]
    if name == "data generate":
        for option in ("--episodes",):
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
    if "-o" in words:
        return words
    return words + SMALL.get(name, [])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing: the commands' own messages are what a failure shows."""


def put_cubes_on_their_goals(path: Path) -> None:
    """Solves the task in one row: one trajectory alone has the same reward everywhere."""
    env = floq.make_env("cube-double-play-singletask-v0")
    env.reset(seed=0)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    goals = env.unwrapped._data.mocap_pos
    for cube, goal in enumerate(goals):
        arrays["qpos"][5, 14 + 7 * cube : 17 + 7 * cube] = goal
    np.savez_compressed(path, **arrays)
    env.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder, with a data folder and a mirror that serves it."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "data").mkdir()
    (folder / "mirror").mkdir()
    handler = partial(Quiet, directory=str(folder / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("FLOQ_DATA", str(folder / "data"))
            patch.setenv("FLOQ_MIRRORS", f"http://127.0.0.1:{server.server_port}")
            yield folder
        server.shutdown()


def test_the_pages_show_commands():
    """The README's and the docs' commands are found."""
    assert len(commands()) >= 8


@pytest.mark.filterwarnings("ignore:.*")
def test_every_command_of_the_pages_runs(folder, capsys):
    """In the order of the pages, small, each ends with success."""
    for command in commands():
        words = shrunk(command)
        if words[0] in ELSEWHERE or " ".join(words[:2]) in ELSEWHERE:
            continue
        if words[:2] == ["data", "download"]:
            for file in (folder / "data").glob(f"{words[2]}*.npz"):
                file.rename(folder / "mirror" / file.name)
        if words[0] == "train":
            put_cubes_on_their_goals(folder / "data" / "cube-double-play-v0.npz")
        words = ["cube-double-play-v0" if word.startswith("NAME") else word for word in words]
        assert main(words) == 0, f"{command}: {capsys.readouterr().err}"


ARM = """
import numpy as np

class Arm(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict({"angles": gymnasium.spaces.Box(-4, 4, (3,))})
    action_space = gymnasium.spaces.Box(-3, 3, (1,))

    def __init__(self, gain):
        self.gain = gain

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return {"angles": np.zeros(3, np.float32)}, {}

    def step(self, action):
        self.time += 1
        angles = np.full(3, np.tanh(self.gain * action[0]), np.float32)
        return {"angles": angles}, float(action[0]), False, self.time == 5, {"is_success": True}
"""


def test_the_page_of_environments_is_true(tmp_path, monkeypatch, capsys):
    """Its module and its commands, as they stand: data and environment are found again."""
    text = OWN.read_text()
    (module,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (block,) = re.findall(r"^```\n(floq .*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_robot.py").write_text(module + ARM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 3)).astype(np.float32)
    np.savez(
        "my.npz",
        observations=states[:-1],
        actions=random.uniform(-2, 2, (100, 1)),
        rewards=random.normal(size=100),
        masks=np.ones(100),
        next_observations=states[1:],
    )
    for command in block.splitlines():
        words = command.partition(" --steps")[0].split()[1:]
        assert main(words + OWN_SMALL[words[0]]) == 0, f"{command}: {capsys.readouterr().err}"
    config = json.loads(Path("runs/my-floq-online/config.json").read_text())
    kwargs = {"action_low": -2.0, "action_high": 2.0}
    assert config["environment"] == {"id": "my_robot:make", "kwargs": kwargs}
    assert config["data"] == str(tmp_path / "my.npz")
    monkeypatch.delitem(sys.modules, "my_robot")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*")
def test_the_hosts_of_the_pages_train_together(folder, capsys):
    """The commands with a coordinator, at the same time and small, leave one run, told once."""
    if not (folder / "data" / "cube-double-play-v0.npz").exists():
        assert main("data generate cube-double-play-v0 --episodes 1".split()) == 0
    put_cubes_on_their_goals(folder / "data" / "cube-double-play-v0.npz")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    found = [command for command in commands() if command.startswith("floq train TASK --coord")]
    assert len(found) == 2
    processes = []
    for command in found:
        words = command.replace("TASK", "cube-double-play-singletask-v0").split()[1:]
        words[words.index("--coordinator") + 1] = address
        words = [sys.executable, "-m", "floq.cli", *words, *TRAINING, "--directory", "runs/hosts"]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True))
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert ["floq report" in output for output, _ in outputs] == [True, False]
    assert main(["resume", "runs/hosts"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert main(["report", "runs/hosts", "-o", "hosts.html"]) == 0


@pytest.mark.filterwarnings("ignore:.*")
def test_the_python_example_of_the_readme_runs(folder, monkeypatch, capsys):
    """As it stands, with small networks, two updates and one episode of each evaluation."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    assert len(code.splitlines()) <= 8
    code = code.replace("1_000_000", "2").replace("episodes=50", "episodes=1")
    if not (folder / "data" / "cube-double-play-v0.npz").exists():
        assert main("data generate cube-double-play-v0 --episodes 1".split()) == 0
    put_cubes_on_their_goals(folder / "data" / "cube-double-play-v0.npz")
    published = floq.preset
    monkeypatch.setattr(
        floq, "preset", lambda *names: small(published(*names), width=8, depth=1), raising=False
    )
    train = partial(floq.train, schedule=Schedule(evaluation_episodes=1))
    monkeypatch.setattr(floq, "train", train, raising=False)
    exec(compile(code, "README.md", "exec"), {})
    assert "success" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*")
def test_the_python_examples_of_the_page_on_data_run(folder, monkeypatch, capsys):
    """As they stand, one after the other; its own data can be trained on."""
    if not (folder / "data" / "cube-double-play-v0.npz").exists():
        assert main("data generate cube-double-play-v0 --episodes 1".split()) == 0
    names: dict[str, object] = {}
    page = (ROOT / "docs" / "data.md").read_text()
    for code in re.findall(r"^```python\n(.*?)^```", page, re.S | re.M):
        exec(compile(code, "data.md", "exec"), names)
    assert "Statistics(observation_dim=37" in capsys.readouterr().out
    dataset = names["dataset"]
    assert dataset.action_low == (-2.0,) * 6
    config = small(floq.preset("floq", "cube-double-play-v0"), width=8, depth=1)
    run = floq.train(config, dataset, directory="runs/own", steps=2, progress=False)
    assert run.step == 2
    assert main(["data", "info", "own.npz"]) == 0
    assert "range of the rewards" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*")
def test_the_demo_runs_and_says_what_it_found(folder, monkeypatch):
    """A demo of four updates leaves a report and a summary; called again, it is finished."""
    from floq.demo import demo
    from floq.presets.demo import CONFIG

    # Most of what the demo computes is values of candidates, in its episodes and in its report.
    few = dataclasses.replace(CONFIG, candidates=2, target_candidates=2)
    monkeypatch.setattr("floq.demo.CONFIG", few)
    schedule = Schedule(
        log_interval=2, evaluation_interval=4, evaluation_episodes=1, evaluate_bc=True
    )

    def run():
        return demo(
            "runs/demo", seeds=(0, 1), steps=4, episodes=2, schedule=schedule, progress=False
        )

    page = run()
    assert page.read_text().startswith("<!")
    rows = folder / "runs/demo/evaluations.jsonl"
    evaluated = rows.read_text()
    # The report takes most of the time, and is made as before.
    monkeypatch.setattr("floq.reports.report.report", lambda runs, *, output: output)
    assert run() == page
    assert rows.read_text() == evaluated
    summary = json.loads((folder / "runs/demo/summary.json").read_text())
    assert summary["steps"] == 4
    assert summary["task"] == "pointmaze-medium-navigate-singletask-task1-v0"
    for policy in ("bc", "floq"):
        found = summary["algorithms"][policy]
        assert len(found["per_seed"]) == 2
        assert found["interval"][0] <= found["success"] <= found["interval"][1]
