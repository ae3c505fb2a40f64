"""`--plugin MODULE`: the command line takes algorithms and critics of one's own as its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import floq
from floq.cli import main
from tests.registrations import forget_registrations

EXAMPLES = Path(__file__).parents[1] / "examples"
TRAIN = (
    "train --data data.npz --env Pendulum-v1 --algorithm weighted --directory run --steps 4 "
    "--config.batch-size 4 --log-interval 2 --checkpoint-interval 2 --evaluation-episodes 1 "
    "--max-episode-steps 3 --processes 0"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data of a pendulum."""
    path = tmp_path_factory.mktemp("plugins")
    generator = np.random.default_rng(0)
    floq.Dataset.from_transitions(
        generator.normal(size=(50, 3)),
        generator.uniform(-2, 2, (50, 1)),
        generator.uniform(-9, 0, 50),
        np.ones(50),
        generator.normal(size=(50, 3)),
        action_low=[-2.0],
        action_high=[2.0],
    ).save(path / "data.npz")
    return path


def command(folder, words, *, plugins=("own_algorithm",), status=0):
    """What a command prints, in a process of its own where the examples can be imported."""
    ended = subprocess.run(
        [sys.executable, "-m", "floq", *words.split(), *[f"--plugin={one}" for one in plugins]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.slow
def test_an_algorithm_of_ones_own_from_training_to_the_report(folder):
    """Trained, refused without its module, resumed to the uncut run's bits, evaluated, reported."""
    said = command(folder, TRAIN)
    assert "floq report run --plugin=own_algorithm" in said
    run = folder / "run"
    assert json.loads((run / "config.json").read_text())["algorithm"] == "weighted"
    refused = command(folder, "resume run", plugins=(), status=2)
    assert "algorithm is 'weighted': there is floq, fql" in refused
    assert "--plugin MODULE" in refused
    assert "goes on at step 4 of 8" in command(folder, "resume run --steps 8 --processes 0")
    said = command(folder, "evaluate run --episodes 1 --processes 0")
    assert said.startswith("seed 0, weighted: return")
    command(folder, "report run -o run/report.html")
    assert "weighted" in (run / "report.html").read_text()
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]


@pytest.fixture
def at_home(folder, monkeypatch):
    """In that folder, where the examples can be imported; what they register is forgotten."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(EXAMPLES)
    forget_registrations(monkeypatch)
    yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_a_critic_of_ones_own_has_a_preset(folder, at_home):
    """`floq train --algorithm NAME` then takes it, with its own settings among the options."""
    words = "train --data data.npz --algorithm fql-laplace --directory critic --steps 2 "
    words += "--config.batch-size 4 --config.critic.least-spread 0.5 --plugin=own_critic"
    sizes = [f"--config.{part}.network.hidden-sizes=4" for part in ("critic", "policy")]
    assert main([*words.split(), *sizes]) == 0
    config = json.loads((folder / "critic" / "config.json").read_text())
    assert config["algorithm"] == "fql"
    assert config["config"]["critic"]["kind"] == "laplace"
    assert config["config"]["critic"]["least_spread"] == 0.5


@pytest.mark.parametrize("words", ["presets", "presets scene-play-singletask-v0"])
def test_an_algorithm_without_presets_is_listed(at_home, capsys, words):
    """`floq presets` has all that `--algorithm` takes: a plugin's, and those of entry points."""
    assert main([*words.split(), "--plugin=own_algorithm"]) == 0
    said = capsys.readouterr().out
    summary = (EXAMPLES / "own_algorithm.py").read_text().partition("\n")[0].strip('"')
    assert f"weighted: {summary}\n  without presets: the algorithm's own defaults\n" in said
    assert "altered: floq or FQL with something done to its critics on purpose" in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("train --plugin", "floq: --plugin names no module"),
        ("presets --plugin=", "floq: --plugin names no module"),
        ("presets --plugin .mine", "import for '.mine'): give the name of a module"),
        ("train --plugin --steps 4", "--plugin names no module"),
        ("presets --plugin no_such_module", "'no_such_module' cannot be imported (ModuleNotFound"),
        (
            "presets --plugin no_such.module",
            "(ModuleNotFoundError: No module named 'no_such'): give",
        ),
        ("presets --plugin ./broken_plugin.py", "a module is needed: give --plugin broken_plugin."),
        ("presets --plugin pk/mod.py", "give --plugin pk.mod."),
        ("presets --plugin pk/__init__.py", "give --plugin pk."),
        ("presets --plugin ../pk/mod.py", "go to the folder that holds it and give --plugin mod."),
        (
            "presets --plugin=/pk/__init__.py",
            "go to the folder that holds it and give --plugin pk.",
        ),
        ("presets --plugin .py", "give --plugin mine."),
        ("presets --plugin=broken_plugin", "fault): it is there, and `python -c 'import broken_pl"),
        ("presets --plugin=lacking_plugin", "'no_such'): it is there, and `python -c 'import lack"),
    ],
)
def test_a_plugin_that_cannot_be_had_is_named(words, named, tmp_path, monkeypatch, capsys):
    """Exit status 2, before the command does anything."""
    (tmp_path / "broken_plugin.py").write_text("raise ValueError('its own fault')\n")
    (tmp_path / "lacking_plugin.py").write_text("import no_such\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert named in said
    assert "floq floq" not in said


def test_the_option_stands_anywhere(tmp_path, monkeypatch, capsys):
    """Before the command, behind it, and more than once; help and version need no module."""
    for name in ("first_plugin", "second_plugin"):
        (tmp_path / f"{name}.py").write_text(f"print('{name} is imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("floq.plugins._imported", [])
    assert main("--plugin first_plugin presets --plugin=second_plugin".split()) == 0
    out = capsys.readouterr().out
    assert out.startswith("first_plugin is imported\nsecond_plugin is imported\nfloq:")
    assert main("--plugin nothing --help".split()) == 0
    assert "--plugin MODULE" in capsys.readouterr().out
