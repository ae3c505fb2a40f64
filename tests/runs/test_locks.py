"""A folder has one process at a time, whatever its file system can do."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import warnings

import pytest

from floq.runs.locks import HeldFolder, hold


@pytest.fixture
def no_locks(monkeypatch):
    """A file system such as NFS without its lock daemon."""

    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def take_quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hold(path, what="training")


def ended_process():
    """The number of a process that has ended, and the words that it would leave."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_is_held_until_it_is_freed(tmp_path):
    """A second hold is refused, even in the same process; after the first none is left."""
    with hold(tmp_path, what="training"), pytest.raises(HeldFolder, match=f"in {tmp_path}"):
        hold(tmp_path, what="training")
    hold(tmp_path, what="training").close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_without_locks_it_is_said_and_held_all_the_same(tmp_path, no_locks):
    """One word about it; the second hold is refused by the first one's number."""
    with pytest.warns(UserWarning, match="has no locks"):
        held = hold(tmp_path, what="training")
    with pytest.raises(HeldFolder, match=f"Process {os.getpid()} .*remove"):
        take_quietly(tmp_path)
    held.close()
    take_quietly(tmp_path).close()


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_is_taken_is_no_lack_of_locks(tmp_path, monkeypatch, error):
    """What the system answers where another process has the lock refuses."""

    def flock(file, operation):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(HeldFolder):
        hold(tmp_path, what="training")


@pytest.mark.parametrize("first_has_locks", [True, False])
def test_of_two_processes_only_one_needs_to_lack_locks(tmp_path, monkeypatch, first_has_locks):
    """A lock that the other one cannot see, and one that is no lock, keep it out alike."""

    def flock(file, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with monkeypatch.context() as patch:
        if not first_has_locks:
            patch.setattr(fcntl, "flock", flock)
        held = take_quietly(tmp_path)
    with monkeypatch.context() as patch, held:
        if first_has_locks:
            patch.setattr(fcntl, "flock", flock)
        with pytest.raises(HeldFolder):
            take_quietly(tmp_path)


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"pid": ended_process}, True),
        ({"started": "1"}, True),
        ({"boot": "another"}, True),
        ({"host": "another"}, False),
    ],
)
def test_the_record_of_a_process_that_is_gone_gives_way(tmp_path, no_locks, change, gone):
    """Its number is free, or a later process's; of another host nothing can be known."""
    held = take_quietly(tmp_path)
    record = json.loads((tmp_path / ".owner").read_text())
    held.close()
    values = {name: value() if callable(value) else value for name, value in change.items()}
    (tmp_path / ".owner").write_text(json.dumps(record | values))
    if gone:
        take_quietly(tmp_path).close()
        assert not (tmp_path / ".owner").exists()
    else:
        with pytest.raises(HeldFolder):
            take_quietly(tmp_path)
        assert json.loads((tmp_path / ".owner").read_text()) == record | values


def test_the_systems_lock_tells_that_a_process_of_another_host_is_gone(tmp_path):
    """Where both have locks, whoever has the lock now is alone."""
    held = hold(tmp_path, what="training")
    record = json.loads((tmp_path / ".owner").read_text())
    held.close()
    (tmp_path / ".owner").write_text(json.dumps(record | {"host": "another"}))
    with hold(tmp_path, what="training"):
        assert json.loads((tmp_path / ".owner").read_text()) == record


def test_a_record_that_was_never_finished_gives_way(tmp_path, no_locks, monkeypatch):
    """A process that died between making and writing it does not block the folder for ever."""
    monkeypatch.setattr("floq.runs.locks._WRITTEN_SECONDS", 0.0)
    (tmp_path / ".owner").write_text("")
    with take_quietly(tmp_path):
        assert json.loads((tmp_path / ".owner").read_text())["pid"] == os.getpid()


def test_one_process_at_a_time_removes_what_is_left(tmp_path, no_locks):
    """While another one does, the folder is refused, and the record stays."""
    (tmp_path / ".owner").write_text("{}")
    (tmp_path / ".owner.turn").write_text("{}")
    with pytest.raises(HeldFolder, match="about to"):
        take_quietly(tmp_path)
    assert (tmp_path / ".owner").exists()


def test_windows_is_refused_in_a_sentence(tmp_path, monkeypatch):
    """Where there is no fcntl, training says so."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(RuntimeError, match=r"not supported.*WSL"):
        hold(tmp_path, what="training")
