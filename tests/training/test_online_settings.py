"""Settings of training in the environment, and what no update can come of."""

import dataclasses

import pytest
import tiny_algorithm as tiny
from online_runs import (
    DATASET,
    SCHEDULE,
    go_on,
    run_tiny,
)

from floq.cli import main
from floq.envs.make import EnvironmentSpec
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import read_config, read_rows
from floq.training import Online
from floq.training.online_phase import NothingToLearn


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": None}, "no env"),
        ({"dataset": None}, "dataset is None"),
        ({"dataset": None, "steps": 0}, 'buffer="online"'),
        (
            {
                "dataset": None,
                "steps": 0,
                "online": Online(steps=4, buffer="online"),
                "reward_range": None,
            },
            "--reward-range LOW HIGH",
        ),
        ({"reward_range": (0.0, -1.0)}, "the lower one first"),
        ({"reward_range": (0.0, float("inf"))}, r"reward_range\[1\] is inf.* finite"),
        ({"online": Online(steps=4, buffer="balanced", online_share=0.01)}, "leaves none"),
        ({"online": Online(steps=4, environments=2, capacity=7)}, "at least 8, since each"),
        ({"online": Online(steps=4, warmup=4)}, "no update would ever be made"),
        ({"online": Online(steps=40, updates_per_step=0.025)}, "no update would ever be made"),
        ({"online": Online(steps=4, environments=4)}, "no update would ever be made"),
        (
            {"online": Online(steps=10, environments=2), "config": tiny.Config(action_chunk=5)},
            "action_chunk=5: no update would ever be made",
        ),
    ],
)
def test_online_settings_that_do_not_go_together_are_refused(tmp_path, settings, message):
    """Each is an error at once, and leaves no directory behind."""
    with pytest.raises(ValueError, match=message):
        run_tiny(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "online steps is 0"),
        ({"environments": 3}, "400 online steps cannot be shared by 3"),
        ({"updates_per_step": 0.0}, "updates_per_step is 0.0"),
        ({"updates_per_step": float("nan")}, "updates_per_step is nan"),
        ({"warmup": -1}, "warmup is -1"),
        ({"online_share": 1.0}, "online_share is 1.0"),
        ({"capacity": 0}, "online capacity is 0"),
    ],
)
def test_online_settings_have_ranges(settings, message):
    """A value out of its range is refused by name."""
    with pytest.raises(ValueError, match=message):
        Online(**{"steps": 400, **settings})


def test_updates_are_due_in_their_ratio():
    """From a quarter of an update a step to 128, after the warm-up."""
    assert [Online(steps=9, updates_per_step=0.25).updates_before(n) for n in (3, 4, 8)] == [
        0,
        1,
        2,
    ]
    assert Online(steps=9, updates_per_step=128.0, warmup=5).updates_before(7) == 256


@pytest.mark.filterwarnings("ignore:.*leaves out")
@pytest.mark.parametrize(
    "phases", [(0, None, "online"), pytest.param((20, DATASET, "merged"), marks=pytest.mark.slow)]
)
def test_episodes_shorter_than_a_decision_end_the_run(tmp_path, phases):
    """After a hundred of them, not after all of the steps; steps, episodes and state are saved."""
    offline, dataset, buffer = phases
    settings = {
        "config": tiny.Config(action_chunk=6),
        "env": EnvironmentSpec("Pendulum-v1", {"max_episode_steps": 5}),
        "steps": offline,
        "dataset": dataset,
        "schedule": dataclasses.replace(SCHEDULE, log_interval=1000, checkpoint_interval=1000),
    }
    online = Online(steps=2000, buffer=buffer)
    with pytest.raises(NothingToLearn, match="None of 100 episodes of seed 3 had the 6 steps"):
        run_tiny(tmp_path / "run", online=online, **settings)
    saved = checkpoint_paths(tmp_path / "run" / "checkpoints")[-1]
    assert saved.name == f"step_{offline + 500:09d}"
    episodes = read_rows(tmp_path / "run" / "episodes.jsonl")
    assert [row["length"] for row in episodes] == [5] * 200
    # It comes to the same end again, and another number of steps does not help.
    with pytest.raises(NothingToLearn, match="None of 100 episodes"):
        go_on(tmp_path / "run", dataset=dataset, online_steps=3000)


def test_a_phase_that_ends_without_an_update_says_so(tmp_path):
    """Few episodes, all too short, or the first decision complete in the last step."""
    settings = {"config": tiny.Config(n_step=6), "dataset": None, "steps": 0}
    settings |= {"env": EnvironmentSpec("Pendulum-v1", {"max_episode_steps": 5})}
    with pytest.raises(NothingToLearn, match="None of 6 episodes of seed 3 had the 6 steps"):
        run_tiny(tmp_path / "one", online=Online(steps=30, buffer="online"), **settings)
    assert len(read_rows(tmp_path / "one" / "episodes.jsonl")) == 12
    settings["env"] = "Pendulum-v1"
    with pytest.raises(NothingToLearn, match="No update was made in 6 environment steps"):
        run_tiny(tmp_path / "two", online=Online(steps=6, buffer="online"), **settings)


def test_the_command_line_trains_without_task_and_data(tmp_path, monkeypatch):
    """In an environment of one's own, after which the run is called."""
    monkeypatch.chdir(tmp_path)
    words = "train --env Pendulum-v1 --algorithm rebrac --steps 0 --online-steps 12 --buffer online"
    rest = "--reward-range -17 0 --processes 0 --config.batch-size 2 --evaluation-episodes 1"
    small = [f"--config.{part}.network.hidden-sizes=4" for part in ("critic", "policy")]
    assert main([*words.split(), *rest.split(), *small, "--max-episode-steps", "3"]) == 0
    config = read_config(tmp_path / "runs" / "Pendulum-v1-rebrac")
    assert (config.data, config.fingerprint, config.total_steps) == (None, None, 12)
