"""Runs of the tiny rule in an environment: how they are made, resumed and compared."""

import jax
import numpy as np
import tiny_algorithm as tiny

from floq.envs.make import EnvironmentSpec
from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.runs.states import states_template
from floq.training import Online, Schedule, resume, train

DATASET = tiny.make_dataset()
# Most of such a training is the steps of its episodes.
PENDULUM = EnvironmentSpec("Pendulum-v1", {"max_episode_steps": 100})
SCHEDULE = Schedule(
    log_interval=100, evaluation_interval=200, evaluation_episodes=1, checkpoint_interval=30
)
OFFLINE = 100
ONLINE = Online(steps=200, environments=2, updates_per_step=2.0, capacity=80)
ROWS = ("metrics.jsonl", "evaluations.jsonl", "episodes.jsonl")
FIELDS = ("observations", "actions", "rewards", "masks", "lasts", "environments")


def run_tiny(directory, *, online=ONLINE, steps=OFFLINE, config=tiny.Config(), **settings):
    settings = {
        "env": PENDULUM,
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


def newest(run):
    config = run.config
    template = states_template(tiny, config.config, config.statistics, config.seeds)
    path = checkpoint_paths(run.directory / "checkpoints")[-1]
    return load_checkpoint(path, template, with_rows=True)


def log_of(run):
    """Everything that the run's shards hold, in order."""
    rows = newest(run).rows
    return {name: np.concatenate([shard[name] for shard in rows]) for name in FIELDS}


def assert_same_end(run, uncut):
    """Networks, counters, environments, buffers and rows of both runs are equal to the bit."""
    ours, theirs = newest(run), newest(uncut)
    assert ours.details == theirs.details
    assert ours.extra.keys() == theirs.extra.keys()
    for name, values in theirs.extra.items():
        assert ours.extra[name].tobytes() == values.tobytes(), name
    for one, other in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    # Old shards go at other times where they were cut in other places: the newest rows stay.
    ours, theirs = log_of(run), log_of(uncut)
    kept = 2 * len(run.config.seeds) * 40
    for name in FIELDS:
        assert ours[name][-kept:].tobytes() == theirs[name][-kept:].tobytes(), name
    for name in ROWS:
        assert (run.directory / name).read_text() == (uncut.directory / name).read_text()
