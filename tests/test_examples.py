"""Every example runs, is short, uses public names alone, and says something true."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import floq
from tests.docs.pages import ROOT, blocks
from tests.registrations import forget_registrations

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
STUDY = "offline_to_online.py"
"""Longer than the others: it makes data, trains two algorithms and draws."""


@pytest.fixture(scope="module")
def example():
    """Imports an example, with networks that take no time; what it registers is then forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES[0].parent)
        forget_registrations(patch)

        def load(name):
            module = importlib.import_module(name)
            if hasattr(module, "CONFIG"):
                patch.setattr(module, "CONFIG", floq.small(module.CONFIG, width=8, depth=1))
            return module

        yield load
        for path in EXAMPLES:
            sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def reach(example, tmp_path_factory):
    """What own_environment.py leaves behind."""
    directory = tmp_path_factory.mktemp("examples") / "reach"
    example("own_environment").main(str(directory), "200")
    return directory


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short_and_use_public_names(path):
    """At most 60 lines, and floq's names as `floq.NAME`; the study is longer and looks deeper."""
    text = path.read_text()
    if path.name != STUDY:
        assert len(text.splitlines()) <= 60
        assert not re.search(r"(from|import) floq[. ]\S", text)
        assert set(re.findall(r"\bfloq\.([A-Za-z_]\w*)\b", text)) <= set(floq.__all__)


@pytest.mark.slow
def test_a_critic_of_ones_own(example, tmp_path, capsys):
    """It is trained, named in config.json, and found again with its values."""
    example("own_critic").main(str(tmp_path / "run"), "3")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["config"]["critic"]["kind"] == "laplace"
    assert "have the values [" in capsys.readouterr().out


def test_an_algorithm_of_ones_own_learns_the_better_actions(example, tmp_path):
    """Where the reward is the action itself, the policy chooses more than the data's mean of 0."""
    own = example("own_algorithm")
    generator = np.random.default_rng(0)
    states = generator.uniform(-1, 1, (500, 2)).astype(np.float32)
    actions = generator.uniform(-1, 1, (500, 1)).astype(np.float32)
    dataset = floq.Dataset.from_transitions(
        states, actions, 5 * actions[:, 0], np.zeros(500), np.roll(states, 1, axis=0)
    )
    network = floq.NetworkConfig((16,))
    config = own.Config(batch_size=64, critic=floq.ScalarCriticConfig(network=network))
    run = floq.train(config, dataset, directory=tmp_path / "run", steps=600, progress=False)
    assert run.config.algorithm == "weighted"
    assert run.actor().act(states).mean() > 0.3


@pytest.mark.slow
def test_data_of_ones_own_in_its_own_units(example, tmp_path, capsys):
    """The policy pushes with newtons, and the run finds its data again by itself."""
    example("own_data").main(str(tmp_path), "10")
    force = float(re.search(r"pushes with \[(.+)\] newtons", capsys.readouterr().out).group(1))
    assert abs(force) <= 8
    assert floq.resume(tmp_path / "pushes", steps=12, progress=False).step == 12


def test_an_environment_of_ones_own_and_acting_in_it(reach, example, capsys):
    """Trained without data; a loaded run then acts in newtons, and succeeds or not."""
    run = floq.load_run(reach)
    assert run.config.action_bounds == ((-5.0, -5.0), (5.0, 5.0))
    example("acting").main(str(reach), "2")
    lines = capsys.readouterr().out.splitlines()
    assert [re.fullmatch(r"episode \d: \d+ steps, success (True|False)", one) for one in lines]
    assert len(lines) == 2


def test_callbacks_end_the_training_early(example, tmp_path, capsys):
    """Whatever the success is, 0 is enough: it ends at the first evaluation, and is saved."""
    example("own_environment")
    example("callbacks").main(str(tmp_path / "run"), "200", "0.0")
    assert "ended early: success" in capsys.readouterr().out
    assert floq.load_run(tmp_path / "run").step == 50


def test_rows_in_pandas(reach, example, capsys):
    """A table with a row for each evaluation, and a file of them."""
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency: pip install pandas")
    example("to_pandas").main(str(reach))
    assert "policy" in capsys.readouterr().out
    written = pandas.read_csv(reach / "evaluations.csv")
    assert written["step"].tolist() == [row["step"] for row in floq.load_run(reach).evaluations]


@pytest.mark.slow
def test_the_critic_alone_finds_the_value_of_a_known_problem():
    """Going right from 0.5 earns 0.5 + 0.6 γ + … + γ⁵ / (1 − γ) = 8.69; in at most 30 lines."""
    path = next(path for path in EXAMPLES if path.name == "critic_alone.py")
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith(("import", '"""'))]
    assert len(code) <= 30
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=300, check=True
    )
    value = float(re.search(r"\[(.+)\]", done.stdout).group(1))
    exact = sum(min(0.5 + 0.1 * step, 1.0) * 0.9**step for step in range(400))
    assert value == pytest.approx(exact, rel=0.03)


@pytest.mark.slow
def test_the_study_of_both_phases_writes_a_curve_for_each_algorithm(tmp_path):
    """Its table has floq and FQL, offline and online; the command is that of docs/log/online.md."""
    path = next(path for path in EXAMPLES if path.name == STUDY)
    page = (path.parent.parent / "docs" / "log" / "online.md").read_text()
    assert "python examples/offline_to_online.py" in page
    words = [sys.executable, path, str(tmp_path), "4", "30", "0"]
    subprocess.run(words, timeout=900, check=True)
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    found = {tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows}
    assert {("floq", "4"), ("floq", "34"), ("FQL", "4"), ("FQL", "34")} <= found
    assert (tmp_path / "figure.svg").stat().st_size > 1000


@pytest.mark.slow
def test_the_example_of_the_readme_learns(tmp_path):
    """As it stands, in about a minute: far above the −1,200 of one that is never swung up."""
    (block,) = (block for block in blocks(ROOT / "README.md") if block.language == "python")
    ours = {"JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"return (\S+)", done.stdout)[1]) > -600
