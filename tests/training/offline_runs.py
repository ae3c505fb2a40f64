"""Runs of the tiny rule on data: how they are made, resumed and compared."""

import tiny_algorithm as tiny

from floq.envs import EnvironmentSpec
from floq.runs.checkpoint import checkpoint_paths
from floq.training import Schedule, resume, train

DATASET = tiny.make_dataset()
SCHEDULE = Schedule(
    log_interval=100, evaluation_interval=200, evaluation_episodes=1, checkpoint_interval=50
)
LIMIT = {"max_episode_steps": 20}
"""Most of a training of the tiny rule is the steps of its evaluations."""
PENDULUM = EnvironmentSpec("Pendulum-v1", LIMIT)
ROWS = ("metrics.jsonl", "evaluations.jsonl")


def run_tiny(directory, *, config=tiny.Config(), steps=400, **settings):
    settings = {"env": PENDULUM, "seeds": (3, 5), "schedule": SCHEDULE, **settings}
    return train(
        config,
        settings.pop("dataset", DATASET),
        directory=directory,
        steps=steps,
        **{"processes": 0, "progress": False, **settings},
    )


def go_on(directory, **settings):
    return resume(directory, dataset=DATASET, processes=0, progress=False, **settings)


def state_bytes(directory):
    return (checkpoint_paths(directory / "checkpoints")[-1] / "state.safetensors").read_bytes()


def assert_same_end(directory, uncut):
    """Final state and rows of both runs are equal to the bit."""
    assert state_bytes(directory) == state_bytes(uncut.directory)
    for name in ROWS:
        assert (directory / name).read_text() == (uncut.directory / name).read_text()
