"""A few trials of every row of docs/log/faults.md; `make test-faults` draws all of them."""

import contextlib
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.faults import endurance, hostile, hostile_files, mutants, writes
from tests.faults.page import put_between, table
from tests.faults.rows import ROWS
from tests.faults.trials import Row, hold, run_row

ROOT = Path(__file__).parent.parent
COUNTS = ROOT / "docs" / "faults.json"


def small_rows():
    """The rows that have a small draw; some start many programs, or fail every call of a save."""
    slow = ("resume-offline", "resume-online", "streams", "writes", "flipped-policy")
    slow += ("environments", "settings", "clients", "signals")
    for row in ROWS:
        if row.small:
            marks = [pytest.mark.slow] if row.name in slow else []
            yield pytest.param(row, marks=marks, id=row.name)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("row", list(small_rows()))
def test_a_small_draw_holds(row, tmp_path):
    """What the row says must hold, holds in every trial."""
    counts = run_row(row, "small", seed=1, folder=tmp_path)
    assert counts["cases"] == []
    assert counts["held"] == counts["trials"] > 0


@pytest.mark.slow
def test_a_shorter_training_does_not_grow(tmp_path):
    """Memory, open files and compilations of 20,000 updates with 20 evaluations and saves."""
    endurance.small_trial(tmp_path)


@pytest.mark.slow
def test_rows_side_by_side_have_the_counts_of_rows_in_turn(tmp_path):
    """Each is drawn in a process of its own, with the same trials."""
    rows = ["data-mutated", "data-clean", "fuzz"]
    found = []
    for workers in ("1", "2"):
        output = tmp_path / f"{workers}.json"
        command = [sys.executable, "-m", "tests.faults", "--count", "3", "--output", str(output)]
        subprocess.run([*command, "--only", *rows, "--workers", workers], cwd=ROOT, check=True)
        counts = json.loads(output.read_text())["rows"]
        found.append({name: {**row, "seconds": None} for name, row in counts.items()})
    assert found[0] == found[1]
    assert list(found[0]) == rows


def failing_row(trial):
    @contextlib.contextmanager
    def prepare(folder, wanted):
        yield [trial] * wanted

    return Row("made-up", "nothing", "something", 10, 3, prepare)


def test_failures_are_counted_and_told_and_the_others_still_run(tmp_path):
    """A trial that fails, by itself or by a crash, is a case in words; the rest is drawn."""
    outcomes = iter([None, "a promise", ZeroDivisionError("by zero")])

    def trial(random):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        hold(outcome is None, f"{outcome} was broken")
        return {"metres": 2.0}

    counts = run_row(failing_row(trial), "small", seed=0, folder=tmp_path)
    assert (counts["trials"], counts["held"], counts["failed"]) == (3, 1, 2)
    assert counts["cases"][0] == "trial 1: a promise was broken"
    assert "ZeroDivisionError: by zero" in counts["cases"][1]
    assert counts["measured"] == {"metres": 2.0}


def test_trials_are_drawn_by_seed_row_and_number(tmp_path):
    """The same seed repeats the same draws, another seed or trial makes others."""
    drawn = []
    row = failing_row(lambda random: drawn.append(random.random()))
    for seed in (0, 0, 1):
        run_row(row, "small", seed=seed, folder=tmp_path)
    assert drawn[:3] == drawn[3:6]
    assert len(set(drawn)) == 6


def test_a_reader_that_unpickles_is_found_out(tmp_path, monkeypatch):
    """The audit hook and the trace both show code that a hostile file runs."""
    case = (
        lambda run: run.data.write_bytes(hostile_files._PICKLE),
        lambda run: pickle.loads(run.data.read_bytes()) or 1 / 0,
    )
    monkeypatch.setitem(hostile_files.CASES, "bad", case)
    (tmp_path / "sound" / "run" / "checkpoints" / "step_000000001").mkdir(parents=True)
    (tmp_path / "sound" / "data.npz").write_bytes(pickle.dumps(1))
    with warnings.catch_warnings():
        # jax warns of every fork; the child calls nothing of it.
        warnings.simplefilter("ignore")
        found = hostile._forked("bad", tmp_path / "sound", tmp_path / "place")
    assert found["outcome"] != "rejected"
    assert any("os.system" in event for event in found["seen"])
    assert any("trace" in event for event in found["seen"])


def test_the_watched_disk_fails_the_call_that_it_should(tmp_path):
    """Calls below the folder are counted; the one in question fails, half of its bytes written."""
    disk = writes.Disk(tmp_path / "in", fail=2)
    with disk.watched():
        (tmp_path / "out").mkdir()
        (tmp_path / "in").mkdir()
        with pytest.raises(OSError, match="No space"), (tmp_path / "in" / "x").open("wb") as file:
            file.write(b"12345678")
        (tmp_path / "in" / "x").rename(tmp_path / "in" / "y")
    assert disk.calls == ["mkdir .", "open x", "write x", "rename x"]
    assert (tmp_path / "in" / "y").read_bytes() == b"1234"


def test_the_page_shows_the_committed_counts():
    """docs/log/faults.md has the table of docs/faults.json, number by number, with every row."""
    counts = json.loads(COUNTS.read_text())
    assert table(counts) in (ROOT / "docs" / "log" / "faults.md").read_text()
    assert list(counts["rows"]) == [row.name for row in ROWS]
    for row in counts["rows"].values():
        assert row["trials"] == row["held"] + row["failed"]
        assert row["failed"] == len(row["cases"])


def test_a_table_replaces_the_one_before(tmp_path):
    """The text around the table stays; a short draw and a failure are said."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults: begin -->\nformer\n<!-- faults: end -->\nafter\n")
    row = {
        "done": "this", "holds": "that", "wanted": 9, "trials": 2, "held": 1, "seconds": 3.0,
        "measured": {"MB": 4.0}, "cases": ["trial 1: it broke"],
    }  # fmt: skip
    put_between(page, "faults", table({"rows": {"name": row}}))
    text = page.read_text()
    assert text.startswith("before\n<!-- faults: begin -->\n| done |")
    assert "| this (`name`) | that | 2 of 9 | 1 | 3 | MB 4 |" in text
    assert "- `name`: trial 1: it broke\n<!-- faults: end -->\nafter\n" in text
    assert "former" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no lines"):
        put_between(page, "faults", table({"rows": {}}))


def test_mutants_are_wrong_lines_of_todays_source():
    """Each of at least 40 replaces one place; one whose line is gone is refused."""
    known = mutants.read_mutants()
    assert len(set(known)) == len(known) >= 40
    for mutant in known:
        assert mutants.mutated(mutant, ROOT)
        assert mutants.tests_of(mutant)
    with pytest.raises(ValueError, match="0 times: change the mutant 'gone'"):
        mutants.mutated(mutants.Mutant("losses.py", "gone", "no such line", "x"), ROOT)


def test_the_page_shows_what_became_of_the_mutants():
    """docs/mutants.json has every mutant of today, 85 % are killed, and the page says so."""
    found = json.loads((ROOT / "docs" / "mutants.json").read_text())
    rows = [tuple(row[name] for name in mutants.Mutant._fields) for row in found["rows"]]
    assert rows == mutants.read_mutants()
    assert found == mutants.summary(found["rows"])
    assert found["killed"] >= 0.85 * found["mutants"]
    assert mutants.in_words(found) in (ROOT / "docs" / "log" / "faults.md").read_text()
