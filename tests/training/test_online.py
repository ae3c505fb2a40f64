"""Training in the environment: what it computes, what it leaves, and that a cut leaves no trace."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest
import tiny_algorithm as tiny

from floq.envs.vector import VectorEnvironment
from floq.training import Interrupted, Online, Schedule, load_run, resume, train
from floq.training.checkpoint import checkpoint_paths, load_checkpoint
from floq.training.online import OnlinePhase
from floq.training.program import state_template
from floq.training.signals import StopRequest

DATASET = tiny.make_dataset()
SCHEDULE = Schedule(
    log_interval=100, evaluation_interval=400, evaluation_episodes=1, checkpoint_interval=150
)
ONLINE = Online(steps=400, environments=2, updates_per_step=0.5)
ROWS = ("metrics.jsonl", "evaluations.jsonl", "episodes.jsonl")


def run_tiny(directory, *, config=tiny.Config(), online=ONLINE, steps=0, **settings):
    settings = {
        "env": "Pendulum-v1",
        "seeds": (3, 5),
        "schedule": SCHEDULE,
        "reward_range": (-17.0, 0.0),
        "dataset": DATASET,
        **settings,
    }
    return train(
        config,
        settings.pop("dataset"),
        directory=directory,
        steps=steps,
        online=online,
        processes=0,
        progress=False,
        **settings,
    )


def go_on(directory, **settings):
    settings = {"dataset": DATASET, **settings}
    return resume(directory, processes=0, progress=False, **settings)


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return run_tiny(tmp_path_factory.mktemp("uncut") / "run", steps=100)


def test_x(uncut):
    print(json.dumps(uncut.metrics, indent=1)[:500])
    print((uncut.directory/"episodes.jsonl").read_text())
    print((uncut.directory/"timings.jsonl").read_text())
    print([p for p in sorted(uncut.directory.rglob("*"))])
    assert 0
