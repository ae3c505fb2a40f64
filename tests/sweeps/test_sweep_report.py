"""The page about a sweep: its numbers by hand, and what it says of what is missing."""

import json

import numpy as np
import pytest
from html_pages import assert_stands_alone, read

from floq.cli import main
from floq.presets.domains import DOMAINS
from floq.presets.published import published_mean
from floq.sweeps.comparison import (
    THRESHOLDS,
    cells_of,
    dataset_means,
    improvements,
    overall,
    profiles,
    shared_tasks,
)
from floq.sweeps.table import SweepRow, write_table

CUBES = [f"cube-double-play-singletask-task{number}-v0" for number in range(1, 6)]
FLOQ, FQL = (
    {CUBES[0]: (0.2, 0.4), CUBES[1]: (0.6, 1.0)},
    {CUBES[0]: (0.0, 0.4), CUBES[1]: (0.6, 0.8)},
)
SETTINGS = {"critic.integration_steps": "8", "critic.noise_coverage": "0.1"}


def rows(label, figures, *, trial=None, status="finished", settings=None, steps=2_000_000):
    """A row for each seed of each task; its success is the figure."""
    return [
        SweepRow(
            run=f"{task}-{label}-{seed}",
            task=task,
            algorithm=label,
            trial=trial,
            settings=settings or {},
            seed=seed,
            steps=steps,
            status=status,
            success=value,
            mean_return=None if value is None else -100.0,
            episodes=None if value is None else 50,
        )
        for task, values in figures.items()
        for seed, value in enumerate(values)
    ]


TABLE = [
    *rows("floq", FLOQ, settings=SETTINGS),
    *rows("floq", {CUBES[0]: (None, None)}, settings=SETTINGS | {"critic.integration_steps": "16"},
          status="not begun"),
    *rows("fql", FQL),
    *rows("fql", {CUBES[2]: (None,)}, status="begun"),
]  # fmt: skip


@pytest.fixture
def page(tmp_path):
    """Writes the page of rows by the command, and reads it."""

    def write(found, *, name="study"):
        directory = tmp_path / name
        directory.mkdir()
        write_table(directory, found)
        output = tmp_path / "out" / "report.html"
        assert main(["report", str(directory), "-o", str(output)]) == 0
        assert_stands_alone(output)
        return read(output), json.loads(output.with_name("summary.json").read_text())

    return write


def test_numbers_of_two_methods_by_hand():
    """Middle halves (.4 + .6) / 2 both; means .55 and .45; 5 of 8 pairs are won on either task."""
    cells = cells_of(rows("floq", FLOQ) + rows("fql", FQL))
    floq, fql = overall(cells)
    assert floq.interquartile.mean == fql.interquartile.mean == pytest.approx(0.5)
    assert (floq.mean.mean, fql.mean.mean) == pytest.approx((0.55, 0.45))
    # Either seed twice on either task is drawn with probability 1/16: within the 95 %.
    assert (floq.mean.low, floq.mean.high) == pytest.approx((0.4, 0.7))
    (found,) = improvements(cells)
    assert (found.method, found.other, found.tasks) == ("floq", "fql", 2)
    assert found.probability.mean == pytest.approx(0.625)
    assert 0 < found.probability.low < 0.625 < found.probability.high <= 1
    first, _ = profiles(cells)
    at = dict(zip(THRESHOLDS.round(2), first.shares, strict=True))
    assert [at[0.0], at[0.3], at[0.5], at[0.7], at[1.0]] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert first.band.shape == (2, 101)


def test_a_method_is_its_label_with_what_differs():
    """A setting that has one value in all of a label's rows is left out of its name."""
    names = list(dict.fromkeys(cell.method for cell in cells_of(TABLE)))
    assert names == [
        "floq (critic.integration_steps=8)", "floq (critic.integration_steps=16)", "fql",
    ]  # fmt: skip


def test_only_tasks_of_both_are_compared():
    """On task 1 alone, where floq wins 5 of 8; fql's other tasks change nothing."""
    cells = cells_of(rows("floq", {CUBES[0]: (0.2, 0.4)}) + rows("fql", FQL))
    assert shared_tasks(cells, ["floq", "fql"]) == [CUBES[0]]
    assert overall(cells)[1].mean.mean == pytest.approx(0.2)
    assert improvements(cells)[0].probability.mean == pytest.approx(0.625)


def test_a_single_seed_bounds_nothing():
    """Drawn again it stays the same, which must not look certain."""
    cells = cells_of(rows("floq", {CUBES[0]: (0.2, 0.4), CUBES[1]: (0.6,)}))
    assert overall(cells)[0].mean.ends == [None, None]
    assert np.isinf(profiles(cells)[0].band).all()


def test_unfinished_rows_and_those_without_figures_do_not_count():
    """Nor do returns, in what is compared over tasks: they have no common scale."""
    half = rows("floq", {CUBES[0]: (0.2, None)})
    (cell,) = cells_of(half)
    assert (cell.planned, cell.seeds, cell.per_seed) == (2, (0,), (0.2,))
    returns = [row._replace(success=None, mean_return=-3.0) for row in half]
    (cell,) = cells_of(returns)
    assert (cell.figure, cell.interval.mean) == ("return", -3.0)
    assert overall([cell]) == dataset_means([cell]) == improvements([cell]) == []
    begun = [row._replace(status="begun") for row in half]
    assert cells_of(begun)[0].interval is None


def test_published_figures_stand_beside_the_same_tasks_only():
    """Five tasks have the dataset's 47 %, four have none; task 3 alone has 59 %."""
    cells = cells_of(rows("floq", {task: (0.5, 0.5) for task in CUBES}))
    assert [dataset_means(each)[0].published for each in (cells, cells[1:])] == [0.47, None]
    assert cells[2].published == 0.59
    fql = rows("fql", {task: (0.5,) for task in CUBES}, steps=1_000_000)
    assert dataset_means(cells_of(fql))[0].published == 0.29
    assert overall(cells)[0].published == 0.47


def test_the_published_mean_is_of_all_fifty_tasks():
    """One fewer has none, and neither has an algorithm without figures."""
    tasks = [
        name.replace("-v0", f"-singletask-task{number}-v0")
        for name in DOMAINS
        for number in range(1, 6)
    ]
    assert published_mean(tasks, "floq") == 0.56
    assert published_mean(tasks[1:], "floq") is None
    assert published_mean(tasks, "iql") is None


def test_the_page_shows_each_part_and_what_is_missing(page):
    """4 + 4 of 11 rows are finished; one figure each for four of the five sections."""
    shown, told = page(TABLE)
    assert shown.titles == [
        "Over all tasks", "Probability of improvement", "Performance profiles", "Datasets", "Tasks",
    ]  # fmt: skip
    assert len(shown.images) == 4
    assert "8 of 11 rows are finished" in shown.text
    assert "missing are 1 begun, 2 not begun" in shown.text
    assert "in no comparison: floq (critic.integration_steps=16)" in shown.text
    assert "Sweep study" in shown.text
    # Task 1: mean 30 %, and 45 % published.
    assert {"success 30\N{NO-BREAK SPACE}%", "45\N{NO-BREAK SPACE}%"} <= set(shown.words)
    assert (told["rows"], told["finished"]) == (11, 8)
    assert told["improvement"][0]["probability"] == 0.625
    assert told["tasks"][CUBES[1]]["fql"]["per_seed"] == [0.6, 0.8]


def test_methods_without_a_shared_task_are_not_compared(page):
    """The page says so in each section, and still shows what each came to."""
    found = rows("floq", {CUBES[0]: (0.2,)}) + rows("fql", {CUBES[1]: (0.4,)})
    shown, told = page(found)
    assert shown.text.count("There is no task on which every method") == 2
    assert "No task has finished seeds of both: floq and fql" in shown.text
    assert told["improvement"] == []
    assert told["methods"] == {}
    assert len(told["tasks"]) == 2


def test_trials_of_a_search_are_listed_and_compared_with_nothing(page):
    """The best one comes first; a grid beside them keeps its own sections."""
    found = [
        *rows("floq", FLOQ),
        *(
            row
            for trial, value in enumerate((0.3, 0.9, None))
            for row in rows(
                "tuned",
                {CUBES[0]: (value,)},
                trial=trial,
                settings={"bc_coefficient": str(trial)},
                status="begun" if value is None else "finished",
            )
        ),
    ]
    shown, told = page(found)
    assert shown.titles[-1] == "Searches"
    places = [shown.text.index(f"tuned, trial {n} (bc_coefficient={n})") for n in (1, 0, 2)]
    assert places == sorted(places)
    assert list(told["methods"]) == ["floq"]
    assert "no two methods" in shown.text


def test_a_sweep_is_reported_alone(tmp_path, capsys):
    """Beside another folder it is refused, and so is a table of something else."""
    write_table(tmp_path, TABLE)
    assert main(["report", str(tmp_path), str(tmp_path / "other")]) == 2
    assert "name it alone" in capsys.readouterr().err
    other = tmp_path / "numbers.csv"
    other.write_text("a,b\n1,2\n")
    assert main(["report", str(other)]) == 2
    assert "is not a sweep's table" in capsys.readouterr().err
