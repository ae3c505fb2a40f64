"""The file of a sweep: what it means, and how it is refused."""

import dataclasses
import re
from pathlib import Path

import pytest
import sweep_files

from floq.cli import main
from floq.presets.changes import small
from floq.presets.methods import preset
from floq.sweeps import forecast, read_spec
from floq.sweeps.estimate import task_flops
from floq.sweeps.queue import Queue
from floq.sweeps.table import final_rows, read_table, write_table

PAPER = Path(__file__).parents[2] / "examples" / "sweeps" / "paper.toml"


def write(folder, text):
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def test_a_grid_has_every_combination_once(tmp_path):
    """3 values × 2 packs of 3 seeds: 6 runs, each with its own name and its value."""
    text = sweep_files.SPEC.replace("seeds = [0, 1]", "seeds = [0, 1, 2]\nseeds_per_run = 2")
    text += "\n[algorithms.floq.grid]\ncritic.noise_coverage = [0.1, 0.25, 1]\n"
    runs = forecast(read_spec(write(tmp_path, text)), tmp_path)
    assert len({run.name for run in runs}) == len(runs) == 6
    found = [(run.config.critic.noise_coverage, run.seeds) for run in runs]
    assert found == [(value, seeds) for value in (0.1, 0.25, 1.0) for seeds in ((0, 1), (2,))]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("steps = 20\n", "step = 20\n"), "did you mean steps"),
        (("seeds = [0, 1]", "seeds = [1, 1]"), r"\[1, 1\]"),
        (("task1-v0", "task9-v0"), "task9"),
        (("log_interval = 10", "log_interval = 0"), "log_interval is 0"),
        (("critic.noise_samples = 1", "critic.noise_sample = 1"), "did you mean noise_samples"),
        (("batch_size = 4", "batch_size = 'four'"), "batch_size is 'four'"),
        (("batch_size = 4", "batch_size = nan"), "batch_size is nan.* whole number"),
        (("steps = 20\n", "steps = 20.5\n"), "steps is 20.5.* whole number"),
        (("batch_size = 4", "batch_size.few = 4"), "batch_size is one value: .* {'few': 4}"),
        (("algorithms.floq", "algorithms.flok"), "flok"),
        (("singletask-task1-v0", "v0"), r"table \[goals\]"),
        (("steps = 20", "steps = 20\ngoals = {}"), "no task is to reach any"),
        (("steps = 20", "steps = 20\nreward = 'none'"), "reward is 'none'"),
    ],
)
def test_what_cannot_be_is_named_before_anything_starts(change, named, tmp_path):
    """A wrong key or value is refused with its name."""
    path = write(tmp_path, sweep_files.SPEC.replace(*change, 1))
    with pytest.raises(ValueError, match=named):
        forecast(read_spec(path), tmp_path)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("goals = {}", "evaluation_episodes is 1, .*5 goals of pointmaze-medium-navigate-v0"),
        ("goals = { value_goals = [1, 1, 1] }", "goals: value_goals is"),
        ("goals = {}\nreward = 'sparse'", "'sparse', and pointmaze-medium-navigate-v0 has no"),
    ],
)
def test_goals_and_rewards_must_suit_the_tasks(more, named, tmp_path):
    """What a task to reach goals cannot have is refused before anything starts."""
    text = sweep_files.SPEC.replace("singletask-task1-v0", "v0", 1)
    path = write(tmp_path, text.replace("steps = 20", f"steps = 20\n{more}", 1))
    with pytest.raises(ValueError, match=named):
        read_spec(path)


@pytest.mark.parametrize(("name", "said"), [("", "it is a folder"), ("nowhere.toml", "no such")])
def test_a_folder_is_no_spec_and_neither_is_nothing(name, said, tmp_path):
    """Both are said with what is due."""
    with pytest.raises(FileNotFoundError, match=rf"{said}.*\. Give the TOML file of a sweep"):
        read_spec(tmp_path / name)


def test_whole_floats_are_whole_numbers(tmp_path):
    """1e6 is written as people write it: the runs are those of 1000000, names and all."""
    text = f"{sweep_files.SPEC}\n[algorithms.floq.grid]\ndistilled.members = [1, 2]\n"
    plain = forecast(read_spec(write(tmp_path, text)), tmp_path)
    for old, new in {
        "steps = 20": "steps = 2e1",
        "seeds = [0, 1]": "seeds = [0.0, 1e0]",
        "log_interval = 10": "log_interval = 1e1",
        "batch_size = 4": "batch_size = 4.0",
        "sizes = [8]": "sizes = [8.0]",
        "[1, 2]": "[1.0, 2.0]",
    }.items():
        assert old in text
        text = text.replace(old, new)
    assert repr(forecast(read_spec(write(tmp_path, text)), tmp_path)) == repr(plain)


def test_a_search_needs_to_know_how_long(tmp_path):
    """A space without [search], and [search] without a space, are refused."""
    space = "[algorithms.floq.search]\nbc_coefficient = { low = 1, high = 10 }\n"
    for more, named in (
        (space, r"no table \[search\]"),
        ("[search]\ntrials = 2\n", "no algorithm"),
    ):
        with pytest.raises(ValueError, match=named):
            read_spec(write(tmp_path, f"{sweep_files.SPEC}\n{more}"))


def test_a_search_of_whole_numbers_has_whole_ends(tmp_path):
    """Ends are read as the file has them; an end that the setting cannot have is refused."""
    text = f"{sweep_files.SPEC}\n[search]\ntrials = 3\n[algorithms.fql.search]\nbatch_size = "
    spec = read_spec(write(tmp_path, text + "{ low = 4, high = 64 }"))
    runs = forecast(spec, tmp_path)
    assert [run.trial for run in runs if run.label == "fql"] == [0, 0, 1, 1, 2, 2]
    spec = read_spec(write(tmp_path, text + "{ low = 4.5, high = 64 }"))
    with pytest.raises(ValueError, match=r"algorithms.fql.search.batch_size is 4.5"):
        forecast(spec, tmp_path)


def test_the_paper_has_fifty_tasks_and_two_methods():
    """100 runs of 3 seeds, with each task's published settings."""
    runs = forecast(read_spec(PAPER), Path("nowhere"))
    assert len(runs) == 100
    assert len({run.task for run in runs}) == 50
    alphas = {run.config.bc_coefficient for run in runs if "puzzle" in run.task}
    assert alphas == {1000}


def test_nothing_is_finished_at_first(tmp_path):
    """The queue hands out each run once; the table says that none has begun, and reads back."""
    queue = Queue(read_spec(write(tmp_path, sweep_files.SPEC)), tmp_path)
    names = [queue.next().name, queue.next().name]
    assert names == [run.name for run in queue.runs]
    assert queue.next() is None
    rows = read_table(
        write_table(tmp_path, [row for run in queue.runs for row in final_rows(tmp_path, run)])
    )
    assert [(row.run, row.seed, row.status, row.success) for row in rows] == [
        (name, seed, "not begun", None) for seed, name in enumerate(names)
    ]


@pytest.mark.filterwarnings("ignore:.*")
def test_a_dry_run_needs_no_ray_and_leaves_nothing(tmp_path, capsys):
    """It prints runs and cost, and makes no folder."""
    path = write(tmp_path, sweep_files.SPEC + "\n[cost]\ngflops_per_second = 1\n")
    directory = tmp_path / "runs"
    assert main(["sweep", str(path), "--directory", str(directory), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs, 2 of them left" in shown
    assert "At 1 GFLOP/s" in shown
    assert not directory.exists()


@pytest.mark.slow
def test_the_papers_file_states_the_hours_that_a_dry_run_prints(tmp_path, capsys):
    """The comment in the file is the estimate, to the hour."""
    directory = tmp_path / "runs"
    assert main(["sweep", str(PAPER), "--directory", str(directory), "--dry-run"]) == 0
    (printed,) = re.findall(r"that is ([\d,.]+) hours of one device", capsys.readouterr().out)
    (stated,) = re.findall(r"Estimated GPU hours: ([\d,]+)", PAPER.read_text())
    assert round(float(printed.replace(",", ""))) == int(stated.replace(",", ""))


@pytest.mark.parametrize(
    "algorithm", ["floq", "fql-iqn", "fql-categorical", "rebrac", "ifql", "bc"]
)
def test_an_update_is_counted_for_every_kind_of_algorithm(algorithm):
    """No loop is of unknown length; twice the batch costs nearly twice as much."""
    config = small(preset(algorithm, "scene-play-v0"), width=8, depth=1)
    once, twice = (
        task_flops(dataclasses.replace(config, batch_size=size), "scene-play-singletask-v0")
        for size in (64, 128)
    )
    assert 1.7 * once < twice < 2 * once


def test_settings_of_all_algorithms_give_way_to_each_ones_own(tmp_path):
    """[settings] holds where an algorithm sets and varies nothing else."""
    text = sweep_files.SPEC.replace(
        "[schedule]", "[settings]\nbatch_size = 7\ndiscount = 0.9\n\n[schedule]", 1
    )
    text += "\n[algorithms.fql.grid]\ndiscount = [0.5]\n"
    configs = {
        run.label: run.config for run in forecast(read_spec(write(tmp_path, text)), tmp_path)
    }
    assert [(configs[name].batch_size, configs[name].discount) for name in ("floq", "fql")] == [
        (4, 0.9),
        (7, 0.5),
    ]
