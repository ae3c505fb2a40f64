"""A run's folder: its beginning, and reading rows while it writes them."""

import json

import pytest

from floq.runs import directory
from floq.runs.directory import RowTail, RunDirectory, read_rows


def test_a_tail_gives_what_is_new_and_whole(tmp_path):
    """A line that is being written waits for its end; a shorter file is read from its start."""
    path = tmp_path / "metrics.jsonl"
    tail = RowTail(path)
    assert tail.read() == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [row["step"] for row in tail.read()] == [1, 2]
    with path.open("a") as file:
        file.write('ep": 3}\n')
    assert [row["step"] for row in tail.read()] == [3]
    assert tail.read() == []
    path.write_text('{"step": 7}\n')
    assert [row["step"] for row in tail.read()] == [7]
    assert read_rows(path) == [{"step": 7}]


def test_the_bad_line_is_named_by_its_number_in_the_file(tmp_path):
    """Also where a former look has read the lines before it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n")
    tail = RowTail(path)
    tail.read()
    with path.open("a") as file:
        file.write("no row\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not a row"):
        tail.read()


def test_a_place_that_takes_no_run_is_refused(tmp_path):
    """Before any work, as below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/run cannot be written .*: give another place"):
        directory.refuse_existing(tmp_path / "file" / "run")


@pytest.mark.parametrize("fails", ["clean_up", "replace_bytes", "sync_path"])
def test_what_fails_at_the_beginning_leaves_the_folder_free(fails, finished, tmp_path, monkeypatch):
    """Also while somebody still looks at the error: another try is not told of another process."""

    def fail(*_):
        raise OSError("no room")

    config = finished.config
    with monkeypatch.context() as patch:
        patch.setattr(directory, fails, fail)
        with pytest.raises(OSError, match="no room") as seen:
            RunDirectory.create(tmp_path / "run", config)
    (tmp_path / "run" / "config.json").unlink(missing_ok=True)
    with RunDirectory.create(tmp_path / "run", config) as files:
        assert files.path.is_dir()
    assert seen.tb is not None


def test_rows_after_a_checkpoint_are_removed_and_no_file_is_made(finished, tmp_path):
    """Each file keeps the rows up to its last whole step; one that is not there stays so."""
    rows = {"metrics": [2, 4, 4, 6], "timings": [2, 4, 6], "episodes": [1, 4, 5]}
    with RunDirectory.create(tmp_path / "run", finished.config) as files:
        for name, steps in rows.items():
            files.append(f"{name}.jsonl", [{"step": step} for step in steps])
        expected = {"metrics.jsonl": 1, "timings.jsonl": 1, "evaluations.jsonl": 0}
        assert files.rewind(expected, 4) == {"timings.jsonl", "evaluations.jsonl"}
    kept = {
        path.stem: [row["step"] for row in read_rows(path)]
        for path in (tmp_path / "run").glob("*.jsonl")
    }
    assert kept == {"metrics": [2], "timings": [2, 4], "episodes": [1, 4]}
