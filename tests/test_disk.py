"""What disks and homes may lack is said in words."""

import errno
import os
from pathlib import Path

import pytest

from floq.disk import output_file, replace_bytes, sync_path, user_path


def failing(monkeypatch, name, error):
    def stand_in(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, name, stand_in)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES])
@pytest.mark.parametrize("name", ["fsync", "open"])
def test_a_file_system_that_cannot_sync_is_gone_on_with(tmp_path, monkeypatch, name, error):
    """It is said, and the file is written."""
    failing(monkeypatch, name, error)
    with pytest.warns(UserWarning, match="does not say when the disk"):
        sync_path(tmp_path)
    if name == "fsync":
        with pytest.warns(UserWarning, match="does not say when the disk"):
            replace_bytes(tmp_path / "file", b"content")
        assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_an_error(tmp_path, monkeypatch, error):
    """The error names the path and the reason."""
    failing(monkeypatch, "fsync", error)
    with pytest.raises(OSError, match=f"{tmp_path}.*{os.strerror(error)}"):
        sync_path(tmp_path)


def test_a_file_that_cannot_be_renamed_is_named(tmp_path, monkeypatch):
    """The former content stays, and nothing half-written lies beside it."""
    (tmp_path / "file").write_bytes(b"former")
    failing(monkeypatch, "replace", errno.EPERM)
    with pytest.raises(PermissionError, match="file cannot be written"):
        replace_bytes(tmp_path / "file", b"later")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"former"]


def test_a_place_that_takes_no_file_is_refused(tmp_path):
    """A folder, what is below a file, a device; what can be written is made by nobody yet."""
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match=r"is a folder: name a file, such as .*/page\.html"):
        output_file(tmp_path, Path("run/page.html"))
    with pytest.raises(OSError, match=r"file/page\.html cannot be written .*: give another place"):
        output_file(tmp_path / "file" / "page.html", Path("page.html"))
    with pytest.raises(FileExistsError, match="null is no regular file"):
        output_file(os.devnull, Path("page.html"))
    assert output_file(None, tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_tilde_is_the_users_home(monkeypatch):
    """Alone or at the beginning; the name of no user is a name as any other."""
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/runs") == Path("/somewhere/runs")
    assert user_path("runs/~") == Path("runs/~")
    assert user_path("~no-such-user/runs") == Path("~no-such-user/runs")


def test_a_user_without_a_home_is_told(monkeypatch):
    """A tilde then means nothing, and other paths what they always do."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(ValueError, match=r"~/runs: there is no home folder.*Set \$HOME"):
        user_path("~/runs")
    assert user_path("runs") == Path("runs")


def test_an_empty_path_is_not_the_folder_that_this_is():
    with pytest.raises(ValueError, match="the path is empty"):
        user_path("")
    assert user_path(".") == Path()
