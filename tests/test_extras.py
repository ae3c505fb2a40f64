"""What only a part of floq needs is missed by that part alone, which says how to get it."""

import subprocess
import sys

import pytest

import floq
from floq.extras import MissingExtraError, install_command, require_extra


def without(*packages):
    """Python code before which packages cannot be imported."""
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in packages)
    return f"import sys; {blocked}; "


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_is_for_this_python(monkeypatch):
    """From 3.13 on, dm_control is installed without what it asks for and cannot have."""
    monkeypatch.setattr(sys, "executable", "/my pythons/python")
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    once = "'/my pythons/python' -m pip install"
    assert install_command("ogbench") == f'{once} "floq[ogbench]"'
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    twice = f'{once} "floq[ogbench]" && {once} --no-deps ogbench dm_control'
    assert install_command("ogbench") == twice
    assert install_command("plot") == f'{once} "floq[plot]"'


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    """Before any work: a task's, and what draws."""
    monkeypatch.setitem(sys.modules, "ogbench", None)
    with pytest.raises(MissingExtraError) as refusal:
        floq.load_task("cube-single-play-singletask-v0")
    assert install_command("ogbench") in str(refusal.value)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as refusal:
        require_extra("plot")
    assert install_command("plot") in str(refusal.value)


def test_an_environment_of_ogbench_is_told_from_others(monkeypatch):
    """By its name: no other package has it."""
    import gymnasium

    monkeypatch.setitem(sys.modules, "ogbench", None)
    monkeypatch.delitem(gymnasium.registry, "scene-singletask-v0", raising=False)
    with pytest.raises(MissingExtraError, match="ogbench"):
        floq.make_env("scene-play-singletask-v0")
    with pytest.raises(ValueError, match="unknown environment 'no-such-v0'"):
        floq.make_env("no-such-v0")
    assert floq.make_env("Pendulum-v1").action_space.shape == (1,)


def test_what_trains_imports_no_extra():
    """Training, its environments and the command line come without OGBench and matplotlib."""
    code = without("ogbench", "mujoco", "dm_control", "matplotlib") + (
        "import floq.cli, floq.training; from floq.envs.make import make_env; "
        "from floq.runs.versions import versions; "
        "print(make_env('Pendulum-v1').observation_space.shape, versions()['jax'] is not None)"
    )
    assert run(code).split() == ["(3,)", "True"]


def test_what_draws_says_what_it_lacks():
    """In Python too, where its module is imported."""
    code = without("matplotlib") + (
        "\ntry: import floq.reports.report\nexcept RuntimeError as error: print(error)"
    )
    assert install_command("plot") in run(code)


def test_floq_can_be_imported_where_there_is_no_fcntl():
    """On Windows, `import floq`, its names and `floq --help` work."""
    code = without("fcntl", "pwd") + (
        "import signal; del signal.SIGHUP; import floq, floq.training; from floq.cli import main; "
        "names = [getattr(floq, name) for name in floq.__all__]; sys.exit(main(['--help']))"
    )
    assert "train" in run(code)
