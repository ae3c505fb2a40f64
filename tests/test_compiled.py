"""Programs that were compiled once are kept from start to start."""

import os
import stat
import subprocess
import sys

import pytest

from floq.compiled import compiled_directory, keep_compiled_programs

STUDY = "study integration-steps --seeds 0 --updates 12 --variants K=1 --directory".split()


PLAIN = (
    "from floq.compiled import keep_compiled_programs; keep_compiled_programs(); "
    "import jax; jax.jit(lambda number: 2 * number + 1)(1.0)"
)


@pytest.mark.parametrize(
    "words", [["-c", PLAIN], pytest.param(["-m", "floq", *STUDY], marks=pytest.mark.slow)]
)
def test_the_second_start_of_a_program_compiles_nothing(words, tmp_path):
    """It finds each of its programs, so that it adds none; the folder is its owner's alone."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")
    } | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = []
    for name in ("first", "second"):
        command = [sys.executable, *words, str(tmp_path / name)]
        subprocess.run(command, check=True, env=environment, timeout=300)
        (folder,) = (tmp_path / "cache" / "floq").iterdir()
        kept.append({path.name for path in folder.glob("*-cache")})
    assert kept[0] == kept[1] != set()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_program_that_is_being_written_is_compiled_without_a_word(tmp_path):
    """Runs that start side by side share the folder, and jax does not write a file at once."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        run = [sys.executable, "-c", PLAIN]
        done = subprocess.run(run, check=True, env=environment, timeout=300, stderr=subprocess.PIPE)
        kept = [*tmp_path.glob("*-cache")]
        assert done.stderr == b""
        assert kept
        for path in kept:
            path.write_bytes(path.read_bytes()[:100])


def test_a_chosen_folder_is_used(monkeypatch):
    """`$JAX_COMPILATION_CACHE_DIR` goes before the user's cache."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere/else")
    assert str(compiled_directory()) == "/somewhere/else"


@pytest.mark.parametrize("fault", ["a file", "somebody else's", "no home"])
def test_a_folder_that_cannot_be_used_is_said(tmp_path, monkeypatch, fault):
    """Programs are then compiled at each start: nobody else's machine code is run."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if fault == "a file":
        (tmp_path / "floq").touch()
    elif fault == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    else:
        monkeypatch.setattr(os, "geteuid", lambda own=os.geteuid(): own + 1)
    with pytest.warns(UserWarning, match="compiled programs are not kept"):
        keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
