import json
import shutil

import matplotlib
import matplotlib._pylab_helpers
import numpy as np
import pytest
from html_pages import Page, assert_stands_alone, read

from floq.cli import main
from floq.inspection.probe import FlowView
from floq.reports import rollout
from floq.reports.figures import flow_trajectories
from floq.reports.page import table
from floq.reports.report import report
from floq.runs.results import hours_at, metrics, results, summary
from floq.settings import to_json
from floq.training import Online, load_run

SECTIONS = [
    "Learning curves",
    "The learned value",
    "Rollouts",
    "The flow, from noise to value",
    "Losses and values",
    "Results",
    "Settings, versions and speed",
]
GONE = {"id": "Nowhere-v0", "kwargs": {}}
# Without these a run has just begun.
ROWS = ["evaluations.jsonl", "metrics.jsonl", "timings.jsonl"]
BEGUN = [*ROWS, "checkpoints"]


@pytest.fixture(scope="module")
def defaults():
    """Those of matplotlib, before a report."""
    return dict(matplotlib.rcParams.copy())


@pytest.fixture(scope="module")
def written(finished, defaults):
    """The report on the finished run."""
    return report(finished.directory, output=finished.directory / "out" / "report.html")


@pytest.fixture
def plain(copy):
    """A copy with a page that is quickly drawn: nothing can be played, and there is one metric."""

    def make(name="copy", **options):
        path = copy(name, **{"environment": GONE} | options)
        with (path / "metrics.jsonl").open("r+") as file:
            rows = [json.loads(line) for line in file]
            file.seek(0)
            file.truncate()
            few = [dict([*row.items()][:3]) for row in rows]
            assert all([*row][:2] == ["step", "seed"] for row in few)
            file.writelines(json.dumps(row) + "\n" for row in few)
        return path

    return make


def row(step, seed, policy, success, **more):
    figures = {"success": success} if success is not None else {}
    base = {"step": step, "seed": seed, "policy": policy, "episodes": 10, "length": 7.0}
    return base | {"return": -5.0} | figures | more


def write_rows(path, rows):
    (path / "evaluations.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))


def test_page_fetches_nothing(written):
    """Every picture is in the page, there are no scripts or links, also inside the pictures."""
    assert_stands_alone(written)


def test_page_has_each_part(written, finished):
    """All sections show their pictures, and nothing is said to be missing."""
    page = read(written)
    assert page.titles == SECTIONS
    frames = [one for one in page.images if not one.startswith("data:image/svg+xml")]
    assert ("class", "missing") not in page.attributes or "No pictures" in page.text
    # Curves, map, value along the rollout, flow, losses; frames where the machine renders.
    assert len(page.images) - len(frames) == 5
    assert "behaviour cloning" in page.text
    assert "config.critic.integration_steps" in page.text
    assert "4 of 4" in page.text
    told = json.loads(written.with_name("summary.json").read_text())
    assert told == summary(finished)


def test_matplotlib_is_left_as_it_was(defaults, written):
    """No figure stays open in pyplot and no default of matplotlib changes."""
    assert written.exists()
    assert dict(matplotlib.rcParams.copy()) == defaults
    assert matplotlib._pylab_helpers.Gcf.get_all_fig_managers() == []


def test_names_from_files_are_only_text(plain, tmp_path):
    """Markup, formulas and underscores in names of folders and tasks come out as they went in."""
    name, task = "_<img src=x onerror=alert(1)> $\\frac$", "</h1><script>alert(2)</script>"
    without = ("checkpoints",)
    paths = [plain(name, without=without, task=task), plain("other", without=without)]
    text = report(paths, output=tmp_path / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert all(source.startswith("data:") for source in page.images)
    assert "<img src=x" not in text
    assert name in page.text
    assert task in page.text


def test_begun_run_says_what_is_missing(copy, tmp_path):
    """Without evaluations, metrics and checkpoint there is a page that names each of them."""
    output = tmp_path / "new" / "folder" / "report.html"
    page = read(report([copy(without=BEGUN)], output=output))
    assert page.titles == SECTIONS
    assert page.images == []
    assert "No evaluation yet" in page.text
    assert "logged no metrics yet" in page.text
    assert "no checkpoint yet" in page.text
    assert "0 of 4 updates are saved" in page.text
    told = json.loads(output.with_name("summary.json").read_text())
    assert told["algorithms"] == {}
    assert told["seconds"] is None


def test_a_run_without_its_last_evaluation_is_not_finished(plain, tmp_path):
    """All its updates are saved, but a stop in the evaluation leaves it without a row of that."""
    path = plain(without=["evaluations.jsonl"])
    page = read(report([path], output=tmp_path / "report.html"))
    assert "This run is not finished: rows of its last step are missing" in page.text


def test_steps_online_are_no_updates(plain, tmp_path):
    """A run that stopped on its way online says of how many steps, of both phases."""
    path = plain(online=to_json(Online(steps=6)))
    page = read(report([path], output=tmp_path / "report.html"))
    assert "This run is not finished: 4 of 10 steps are saved." in page.text
    assert "after 4 steps (2 seeds, 2 episodes each)" in page.text
    assert "success of each policy against steps" in [
        words for name, words in page.attributes if name == "alt"
    ]


def test_a_page_lies_in_its_run_whichever_way_that_is_named(copy, monkeypatch):
    """Beside its other files, where ~ stands for the home folder too."""
    path = copy(without=BEGUN)
    monkeypatch.setenv("HOME", str(path.parent))
    assert report(f"~/{path.name}") == path / "report.html"


def test_run_without_environment_leaves_out_rollouts(plain, tmp_path):
    """The losses are drawn, the rest says why it is not there."""
    path = plain(without=["evaluations.jsonl"], environment=None)
    page = read(report([path], output=tmp_path / "report.html"))
    assert page.titles == SECTIONS
    assert len(page.images) == 1
    assert (
        page.text.count("no environment: there is no rollout to show. In Python, floq.record") == 3
    )


def test_the_bounds_of_the_data_are_named_where_an_environment_is_to_be_given(copy, tmp_path):
    """Without them, one whose own bounds differ would act at another scale."""
    path = copy(without=ROWS, environment=None, action_bounds=[[-2.0, -1.0], [2.0, 1.0]])
    page = read(report([path], output=tmp_path / "report.html"))
    assert "floq.make_env(NAME, action_low=[-2.0, -1.0], action_high=[2.0, 1.0])." in page.text


def test_environment_that_is_gone_is_named(copy, tmp_path):
    """A run whose environment cannot be built here still gets its report."""
    path = copy(without=ROWS, environment=GONE)
    page = read(report([path], output=tmp_path / "report.html"))
    assert page.text.count("unknown environment 'Nowhere-v0'") == 3


def test_summary_is_of_the_last_step(copy):
    """Rates .4 and .6 at the last complete step: .5, Student's ± 12.706 · .1 cut to [0, 1].

    The better step before does not count, and neither does a later one that was cut off.
    """
    path = copy()
    rows = [row(2, seed, policy, 1.0) for seed in (3, 5) for policy in ("floq", "bc")]
    rows += [row(4, 5, "floq", 0.6), row(4, 5, "bc", 0.0)]
    rows += [row(4, 3, "floq", 0.4), row(4, 3, "bc", 0.0), row(6, 3, "floq", 0.9)]
    write_rows(path, rows)
    told = summary(load_run(path))
    assert list(told) == ["task", "steps", "seconds", "seeds", "algorithms"]
    assert told["task"] == "pointmaze-medium-singletask-task5-v0"
    assert (told["steps"], told["seeds"]) == (4, [3, 5])
    assert told["algorithms"]["floq"] == {
        "success": pytest.approx(0.5),
        "interval": [0.0, 1.0],
        "per_seed": [0.4, 0.6],
    }
    # Wilson's for no success in 20 episodes: z² / (20 + z²).
    expected = {"success": 0.0, "interval": [0.0, pytest.approx(3.8415 / 23.8415, abs=1e-4)]}
    assert told["algorithms"]["bc"] == expected | {"per_seed": [0.0, 0.0]}


def test_returns_stand_in_for_successes(plain, tmp_path):
    """Returns −4 and −6: −5 ± 12.706 · √2 / √2; the page speaks of returns and not of success."""
    path = plain()
    rows = [
        row(4, seed, policy, None, **{"return": value})
        for seed, value in ((3, -4.0), (5, -6.0))
        for policy in ("floq", "bc")
    ]
    write_rows(path, rows)
    told = summary(load_run(path))["algorithms"]["floq"]
    assert told["return"] == -5.0
    assert told["interval"] == pytest.approx([-17.706, 7.706], abs=1e-3)
    page = read(report([path], output=tmp_path / "report.html"))
    assert "floq has a mean return of −5.00 (−17.7 to 7.71)" in page.text


def test_results_and_metrics_keep_the_order_of_seeds(copy):
    """Rows may come in any order: the first row of an array is the first seed's."""
    path = copy()
    rows = [row(4, 5, "floq", 0.1), row(4, 3, "bc", 0.2), row(4, 3, "floq", 0.3)]
    write_rows(path, [*rows, row(4, 5, "bc", 0.4)])
    lines = [{"step": 2, "seed": 5, "loss": 5.0}, {"step": 2, "seed": 3, "loss": 3.0}]
    lines.append({"step": 4, "seed": 3, "loss": 9.0})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = load_run(path)
    assert results(run)["floq"][0].per_seed == (0.3, 0.1)
    steps, values = metrics(run)
    assert steps.tolist() == [2]
    assert values["loss"].tolist() == [[3.0], [5.0]]


def test_several_runs_share_a_page(plain, tmp_path):
    """A folder of runs is each of them: a row a run and policy, and the summaries by name."""
    changed = json.loads((plain("one") / "config.json").read_text())["schedule"]
    plain("two", schedule=changed | {"keep": 3})
    page = read(report([tmp_path], output=tmp_path / "report.html"))
    assert [page.words.count(name) for name in ("one", "two")] == [6, 6]
    assert "What the runs differ in:" in page.text
    shown = [words for name, words in page.attributes if name == "alt"]
    assert shown[:2] == [f"success of each policy against {axis}" for axis in ("updates", "hours")]
    assert page.attributes.count(("class", "differs")) == 1
    told = json.loads((tmp_path / "summary.json").read_text())
    assert list(told) == ["one", "two"]
    assert told["one"]["algorithms"] == told["two"]["algorithms"] != {}


def test_a_run_whose_plugin_is_missing_is_left_out_of_many(copy, tmp_path):
    """With its name and the way out; named itself, and where nothing else is there, refused."""
    copy("one", without=BEGUN)
    path = copy("two", without=BEGUN, algorithm="weighted")
    with pytest.warns(UserWarning, match=r"two is left out: .*'weighted': .* --plugin MODULE"):
        page = read(report([tmp_path], output=tmp_path / "report.html"))
    assert page.titles == SECTIONS
    assert f"{path} is left out: " in page.text
    with pytest.raises(ValueError, match=r"^[^ ]*two.*'weighted'"):
        report([path], output=tmp_path / "report.html")
    shutil.rmtree(tmp_path / "one")
    with (
        pytest.warns(UserWarning, match="two is left out"),
        pytest.raises(ValueError, match="No directory with a sound run"),
    ):
        report([tmp_path], output=tmp_path / "report.html")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.jsonl", "{\n"),
        ("metrics.jsonl", '{"step": 4, "seed": 3}\n{"step": 4, "seed": 7}\n'),
        ("evaluations.jsonl", '{"step": 3}\n' * 4),
        ("timings.jsonl", '{"step": 3}\n'),
        (
            "timings.jsonl",
            '{"step": 2, "updates_per_second": 1.0}\n'
            '{"step": 4, "seconds": 2.0, "updates_per_second": 1.0}\n',
        ),
        ("timings.jsonl", '{"step": 3, "seconds": "x", "updates_per_second": 1.0}\n'),
        ("versions.json", ""),
        ("versions.json", "{}"),
        ("versions.json", None),
    ],
)
def test_a_damaged_run_is_left_out_of_many(copy, tmp_path, file, content, capsys):
    """Whatever is damaged; the page says so. Named itself, it is refused in words."""
    copy("one", without=BEGUN)
    path = copy("two", without=["checkpoints"])
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_text(content)
    with pytest.warns(UserWarning, match=f"two is left out: .*{file}"):
        page = read(report([tmp_path], output=tmp_path / "report.html"))
    assert f"{path} is left out: " in page.text
    assert list(json.loads((tmp_path / "summary.json").read_text())) == ["one"]
    assert main(["report", str(path)]) == 2
    assert file in capsys.readouterr().err


def test_hours_pass_evenly_between_logs(copy):
    """An hour up to step 2 and three up to step 4: half of one at step 1, two at step 3."""
    path = copy()
    rows = [{"step": 2, "seconds": 3600.0}, {"step": 4, "seconds": 10800.0}]
    (path / "timings.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    assert hours_at(load_run(path), np.array([1, 2, 3, 4])).tolist() == [0.5, 1.0, 2.0, 3.0]
    (path / "timings.jsonl").unlink()
    assert hours_at(load_run(path), np.array([1])) is None


def test_no_run_is_refused(tmp_path):
    """A folder without runs, or no folder, is an error and no empty page."""
    with pytest.raises(FileNotFoundError, match="holds no run"):
        report([tmp_path], output=tmp_path / "report.html")
    with pytest.raises(ValueError, match="No directory"):
        report([], output=tmp_path / "report.html")


def test_rounding_is_drawn_as_no_curve():
    """Straight paths, but for the last bit, differ from straight lines by nothing to be seen."""
    times = np.linspace(0, 1, 9)
    paths = -200 * times[:, None] + 1e-13 * np.random.default_rng(0).normal(size=(1, 1, 9, 3))
    figure = flow_trajectories(FlowView(["here"], times, paths, (-1.0, 0.0)))
    low, high = figure.axes[1].get_ylim()
    assert -1 < low <= -1e-3
    assert 1e-3 <= high < 1


def test_long_names_of_a_table_may_have_several_lines():
    """So that the figures beside them are seen; a figure itself stays on its line."""
    written = table(["run", "result"], [["a" * 40, "success 17 %"]])
    assert f'<td class="long">{"a" * 40}</td><td>success 17 %</td>' in written


def test_pictures_are_taken_for_episodes_as_long_as_the_policys_own(finished, monkeypatch):
    """Behaviour cloning, which never arrives, would have most of a short episode left out."""
    rows = [
        row | {"length": 40.0 if row["policy"] == "bc" else 7.0} for row in finished.evaluations
    ]
    (own,) = {row["policy"] for row in rows} - {"bc"}
    assert own == finished.config.algorithm
    asked = {}
    monkeypatch.setattr(rollout, "record_episodes", lambda *_, **words: asked.update(words) or [])
    monkeypatch.setattr("floq.runs.results.read_rows", lambda _: rows)
    rollout.play(finished, 1)
    assert asked["expected"] == 7.0
