"""TensorBoard's event files hold what a run's files hold, and the newest hides the older."""

import struct

import pytest

import floq
from floq.algorithms import bc
from floq.cli import main
from floq.loggers import find_loggers, replay
from floq.presets.changes import small

pytestmark = pytest.mark.extras


def events(path):
    """The events of a file: each a length, its checksum, the event and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def figures(path, name):
    """What a file holds of a figure, by step."""
    found = [(event.step, value) for event in events(path) for value in event.summary.value]
    return {step: value.simple_value for step, value in found if value.tag == name}


def test_a_run_of_several_seeds_is_there_with_its_pictures(finished, copy):
    """Means, seeds apart, settings, and the pictures of the report."""
    path = copy()
    assert not replay(path, find_loggers(["tensorboard"]))
    (file,) = (path / "tensorboard").iterdir()
    rows = [row["policy/value"] for row in finished.metrics if row["step"] == 4]
    assert figures(file, "policy/value")[4] == pytest.approx(sum(rows) / 2, rel=1e-6)
    assert figures(file, "seed_5/policy/value")[4] == pytest.approx(rows[1], rel=1e-6)
    values = [value for event in events(file) for value in event.summary.value]
    pictures = {
        value.tag: value.image.encoded_image_string for value in values if value.image.height
    }
    assert pictures["report/flow"].startswith(b"\x89PNG")
    if "rollout" in pictures:
        assert pictures["rollout"].startswith(b"GIF89a")
    assert any(b"batch_size" in string for value in values for string in value.tensor.string_val)


def test_the_command_says_where_it_lies(copy, monkeypatch, capsys):
    """And how it is opened."""
    monkeypatch.setattr("floq.loggers.following._pictures", lambda run: iter(()))
    path = copy()
    assert main(["log", str(path), "--to", "tensorboard"]) == 0
    said = capsys.readouterr().out
    assert f"The files of tensorboard are in {path}/tensorboard.\n" in said
    assert f"  tensorboard --logdir {path}/tensorboard\n" in said


def test_a_resume_hides_what_was_there_and_shows_all_of_it(maze_data, tmp_path):
    """The second file begins with the word that hides all steps, then has the whole curve."""
    config = small(bc.Config(batch_size=4), width=8, depth=1)
    settings = {"progress": False, "loggers": ["tensorboard"]}
    schedule = floq.Schedule(log_interval=2, checkpoint_interval=2)
    run = floq.train(
        config, maze_data, directory=tmp_path / "run", steps=4, schedule=schedule, **settings
    )
    floq.resume(run.directory, dataset=maze_data, steps=6, **settings)
    first, second = sorted((tmp_path / "run" / "tensorboard").iterdir())
    assert [*figures(first, "policy/loss")] == [2, 4]
    assert [*figures(second, "policy/loss")] == [2, 4, 6]
    started = [event for event in events(second) if event.HasField("session_log")]
    assert [(event.step, event.session_log.status) for event in started] == [(0, 1)]
