"""Watching a run: what is said of it, and a page for those alone who know its address."""

import json
import shutil
import urllib.error
import urllib.request

import pytest

from floq.cli import main
from floq.runs.settings import Online
from floq.settings import to_json
from floq.watching import live_page, look, plot, progress_of, serving


@pytest.fixture
def going(finished, tmp_path):
    """A run at step 4 of 10, which has taken 100 s for its last two steps."""
    path = tmp_path / "going"
    shutil.copytree(finished.directory, path)
    config = json.loads((path / "config.json").read_text()) | {"steps": 10}
    (path / "config.json").write_text(json.dumps(config))
    rows = [{"step": 2, "seconds": 20.0, "updates_per_second": 9.0}]
    rows.append({"step": 4, "seconds": 120.0, "updates_per_second": 8.0})
    (path / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_time_left_is_by_the_recent_pace(going):
    """Six steps at 50 s each, evaluations and all, though updates alone go at 8 a second."""
    state = look(going)
    assert (state.step, state.rate, state.left) == (4, 8.0, 300.0)
    assert progress_of(state) == "step 4 of 10, 8 updates/s, 2 min so far, 5 min left"
    assert [*state.curve] == [2, 4]
    assert not state.finished


@pytest.mark.parametrize(("interval", "first"), [(4, 4), (5_000, 10)])
def test_before_the_first_row_it_is_said_when_that_comes(going, interval, first):
    """Where a step is logged: at the interval, and at the last."""
    config = json.loads((going / "config.json").read_text())
    config["schedule"]["log_interval"] = interval
    (going / "config.json").write_text(json.dumps(config))
    (going / "timings.jsonl").unlink()
    said = f"no row yet of 10 steps: the first comes at step {first}"
    assert progress_of(look(going)) == said


@pytest.mark.parametrize(
    ("warmup", "words"),
    [(0, ""), (6, ": online the first comes after a warm-up of 6 steps")],
)
def test_before_the_first_row_online_no_step_is_promised(going, warmup, words):
    """Rows need updates, and none comes before the warm-up is over."""
    config = json.loads((going / "config.json").read_text())
    config |= {"online": to_json(Online(steps=20, warmup=warmup))}
    (going / "config.json").write_text(json.dumps(config))
    (going / "timings.jsonl").unlink()
    assert progress_of(look(going)) == f"no row yet of 30 steps{words}"


def test_a_finished_run_is_shown_once(finished, capsys):
    """And where there is no terminal, any run is."""
    assert main(["watch", str(finished.directory)]) == 0
    said = capsys.readouterr().out
    assert "step 4 of 4" in said
    assert "done" in said
    assert "critic/flow_loss" in said


def test_a_run_without_its_last_evaluation_is_not_done(copy):
    """All updates are made, and a stop in the evaluation may be why there is none of it."""
    state = look(copy(without=["evaluations.jsonl"]))
    assert not state.finished
    assert progress_of(state).endswith("so far, the last evaluation is to come")


def test_a_run_without_successes_shows_its_return(going, capsys):
    """That of the last evaluation, and the curve."""
    rows = [json.loads(line) for line in (going / "evaluations.jsonl").read_text().splitlines()]
    rows = [{name: one for name, one in row.items() if "success" not in name} for row in rows]
    (going / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["watch", str(going)]) == 0
    last = look(going).curve[4]
    assert last < 0
    assert f"return {last:,.2f} at step 4" in capsys.readouterr().out


def test_a_curve_in_letters_has_its_ends_in_their_places():
    """0 at the start is low and left, 1 at the end is high and right."""
    lines = plot({0: 0.0, 100: 1.0}, 100)
    assert lines[0].startswith("1 │")
    assert lines[0][-1] == "●"
    assert lines[9].startswith("0 │●")
    # Returns below zero hang from it.
    assert plot({50: -5.0, 100: 0.0}, 100)[9].startswith("-5 │")


def test_the_page_asks_for_itself_while_the_run_goes_on(going, finished):
    """And no longer; it holds no script, and fetches nothing."""
    running, done = live_page(going).decode(), live_page(finished.directory).decode()
    assert '<meta http-equiv="refresh" content="5">' in running
    assert "refresh" not in done.replace("floq watch", "")
    assert "<script" not in running
    assert "5 min left" in running


def test_only_who_knows_the_token_sees_the_page(going):
    """On this machine; every other path, a wrong token too, is a 404."""
    with serving(going) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"step 4 of 10" in answer.read()
            assert answer.headers["Cache-Control"] == "no-store"
        root, _, token = address.rpartition("/")
        assert len(token) >= 32
        for wrong in ("", token[:-1], token + "x", f"{token}/"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
                urllib.request.urlopen(f"{root}/{wrong}")
            refusal.value.close()


def test_what_cannot_be_watched_is_said(tmp_path, capsys):
    """No folder, one without a run, and numbers out of range."""
    for path, words in (
        (tmp_path / "soon", "there is no such folder; a run that has just begun makes it"),
        (tmp_path, "there is no config.json in it"),
    ):
        assert main(["watch", str(path)]) == 2
        assert f"{path} holds no run: {words}" in capsys.readouterr().err
    for option, value in (("--interval", "0"), ("--port", "70000")):
        assert main(["watch", str(tmp_path), option, value]) == 2
        assert f"{option[2:]} is" in capsys.readouterr().err
