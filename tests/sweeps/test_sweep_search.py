"""Searches by Optuna, whose choices follow from finished runs alone; no run is trained here."""

import math
import random

import pytest
import sweep_files

from floq.presets.methods import preset
from floq.sweeps import queue, read_spec
from floq.sweeps.plan import Standing
from floq.sweeps.search import Trial, suggest
from floq.sweeps.spec import Choices, Range
from floq.sweeps.table import SweepRow

pytest.importorskip("optuna", reason="Optuna is an extra: `make test-sweep` installs it")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SPACE = {
    "bc_coefficient": Range(1.0, 1000.0, log=True),
    "batch_size": Range(32, 256),
    "critic.integration_steps": Choices((4, 8, 16)),
}
CONFIG = preset("floq", "scene-play-v0")


def value(settings):
    """At its best for α = 30 and K = 8; the batch does not matter."""
    loss = abs(math.log10(settings["bc_coefficient"] / 30))
    return -loss - (settings["critic.integration_steps"] != 8)


def searched(count, seed=0, name="task/floq"):
    trials = []
    for _ in range(count):
        settings = suggest(SPACE, CONFIG, trials, seed=seed, name=name)
        trials.append(Trial(settings, value(settings)))
    return trials


@pytest.fixture(scope="module")
def trials():
    return searched(40)


def test_choices_lie_in_the_space(trials):
    """Whole numbers stay whole; all choices are tried."""
    for settings, _ in trials:
        assert settings.keys() == SPACE.keys()
        assert 1 <= settings["bc_coefficient"] <= 1000
        assert type(settings["batch_size"]) is int
        assert 32 <= settings["batch_size"] <= 256
    assert {trial.settings["critic.integration_steps"] for trial in trials} == {4, 8, 16}


def test_a_search_learns_from_its_trials(trials):
    """The last ten are better on average than the first ten, which are random."""
    first, last = ([trial.value for trial in part] for part in (trials[:10], trials[-10:]))
    assert sum(last) > sum(first) + 5
    assert max(trial.value for trial in trials) > -0.2


def test_the_same_trials_lead_to_the_same_choice(trials):
    """Whatever was asked before; another seed or name chooses otherwise."""
    again = suggest(SPACE, CONFIG, trials[:12], seed=0, name="task/floq")
    assert again == trials[12].settings
    for changed in ({"seed": 1}, {"name": "task2/floq"}):
        names = {"seed": 0, "name": "task/floq"} | changed
        assert suggest(SPACE, CONFIG, trials[:12], **names) != again


def test_trials_without_a_value_are_allowed(trials):
    """Running ones have none yet, failed ones never: neither stops a search."""
    mixed = [
        trial._replace(value=(None, math.nan, trial.value)[index % 3])
        for index, trial in enumerate(trials)
    ]
    assert suggest(SPACE, CONFIG, mixed, seed=0, name="task/floq").keys() == SPACE.keys()


@pytest.mark.parametrize(
    ("key", "part", "named"),
    [
        ("bc_coefficient", Range(1.0, 2.0), "not between 1.0 and 2.0"),
        ("critic.integration_steps", Choices((32, 64)), "none of 32, 64"),
    ],
)
def test_a_search_that_has_begun_keeps_its_space(key, part, named, trials):
    """Settings outside of a changed space are refused by name."""
    with pytest.raises(ValueError, match=rf"trial \d+ of task/floq: {key} was .*{named}"):
        suggest(SPACE | {key: part}, CONFIG, trials, seed=0, name="task/floq")


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Runs a search whose runs end at once, in random order, with kills of the driver between."""
    text = sweep_files.SPEC.replace("batch_size = 4\n", "").replace("seeds = [0, 1]", "seeds = [0]")
    text += """
[algorithms.floq.search]
bc_coefficient = { low = 1, high = 1000, log = true }
batch_size = { low = 4, high = 64 }

[search]
trials = 14
parallel = 3
"""
    path = tmp_path / "spec.toml"
    path.write_text(text)
    spec = read_spec(path)
    finished: dict[str, float] = {}

    def standing(directory, run):
        return Standing(run.name in finished, 0, run.name in finished)

    def final_rows(directory, run):
        success = 1 / (1 + abs(math.log10(run.varied["bc_coefficient"] / 30)))
        return [SweepRow(run.name, run.task, run.label, run.trial, {}, 0, 1, "finished", success)]

    monkeypatch.setattr(queue, "standing", standing)
    monkeypatch.setattr(queue, "final_rows", final_rows)

    def drive(seed, kills):
        generator = random.Random(seed)
        finished.clear()
        handed, running = queue.Queue(spec, tmp_path), []
        while True:
            while (run := handed.next()) is not None:
                running.append(run)
            if not running:
                return {run.name: dict(run.varied) for run in handed.runs}
            run = running.pop(generator.randrange(len(running)))
            finished[run.name] = 1.0
            if generator.random() < kills:
                handed, running = queue.Queue(spec, tmp_path), []
            else:
                handed.ended(run.name)

    return drive


def test_neither_kills_nor_the_order_of_workers_change_a_search(drive):
    """14 trials, 3 at once: the same settings whichever run ends first, and after any restart."""
    undisturbed = drive(seed=0, kills=0.0)
    assert len(undisturbed) == 14
    for seed in range(1, 4):
        assert drive(seed=seed, kills=0.4) == undisturbed
