"""The demo goes from nothing to a report, and goes on where it was cut."""

import dataclasses
import json

import pytest

from floq.demo import demo
from floq.presets.demo import CONFIG
from floq.training import Schedule


@pytest.mark.filterwarnings("ignore:.*")
def test_the_demo_runs_and_says_what_it_found(tmp_path, monkeypatch):
    """A demo of four updates leaves a report and a summary; called again, it is finished."""
    monkeypatch.chdir(tmp_path)
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
