"""The demo goes from nothing to a report, and goes on where it was cut."""

import dataclasses
import json

import gymnasium
import ogbench  # noqa: F401 - registers its environments
import pytest

from floq.demo import demo
from floq.presets.changes import small
from floq.presets.demo import CONFIG
from floq.training import Schedule


@pytest.mark.filterwarnings("ignore:.*")
def test_the_demo_runs_and_says_what_it_found(tmp_path, monkeypatch):
    """A demo of four updates leaves a report and a summary; called again, it is finished."""
    monkeypatch.chdir(tmp_path)
    critic = dataclasses.replace(CONFIG.critic, integration_steps=2, members=2)
    few = dataclasses.replace(CONFIG, critic=critic, candidates=2, target_candidates=2)
    monkeypatch.setattr("floq.demo.CONFIG", small(few, width=8, depth=1))
    # Episodes are short in this process alone, which so steps them itself.
    for name, spec in gymnasium.registry.items():
        if name.startswith("pointmaze-medium"):
            monkeypatch.setattr(spec, "max_episode_steps", 20)
    monkeypatch.setattr("floq.evaluation.available_cores", lambda: 0)
    schedule = Schedule(
        log_interval=2, evaluation_interval=4, evaluation_episodes=1, evaluate_bc=True
    )

    def run():
        return demo(
            "runs/demo", seeds=(0, 1), steps=4, episodes=2, schedule=schedule, progress=False
        )

    page = run()
    assert page.read_text().startswith("<!")
    rows = tmp_path / "runs/demo/evaluations.jsonl"
    evaluated = rows.read_text()
    # The report takes most of the time, and is made as before.
    monkeypatch.setattr("floq.reports.report.report", lambda runs, *, output: output)
    assert run() == page
    assert rows.read_text() == evaluated
    summary = json.loads((tmp_path / "runs/demo/summary.json").read_text())
    assert summary["steps"] == 4
    assert summary["task"] == "pointmaze-medium-navigate-singletask-task1-v0"
    for policy in ("bc", "floq"):
        found = summary["algorithms"][policy]
        assert len(found["per_seed"]) == 2
        assert found["interval"][0] <= found["success"] <= found["interval"][1]
