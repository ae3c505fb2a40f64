"""Reading the rows of a run while it writes them."""

import json

import pytest

from floq.runs.directory import RowTail, read_rows


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
