"""The command line: its help, its errors and its exit statuses."""

import os
import subprocess
import sys

import pytest

from floq.cli import _COMMANDS, main


def test_help_names_every_command(capsys):
    """`floq`, `floq -h` and `floq --help` list all commands."""
    for arguments in ([], ["-h"], ["--help"]):
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in _COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(name, capsys):
    """`floq COMMAND --help` ends with success and describes the options."""
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    assert f"floq {name}" in capsys.readouterr().out


def test_version(capsys):
    """`floq --version` gives the package's."""
    import floq

    assert main(["--version"]) == 0
    assert floq.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["presets", "--help", "train --help"])
def test_a_reader_who_has_enough_is_no_error(arguments):
    """What is written into a closed pipe, as by `floq presets | head -1`, makes no noise."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "floq.cli", *arguments.split()]
    ended = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, timeout=60)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("nonsense", "nonsense"),
        ("data", "data generate"),
        ("train cube-dubble-play-singletask-v0", "cube-double-play-singletask-v0"),
        ("train cube-double-play-singletask-v0 --algorithm ppo", "ppo"),
        ("train cube-double-play-singletask-v0", "floq data generate"),
        ("train antmaze-large-navigate-singletask-v0", "floq data download"),
        ("resume nowhere", "nowhere"),
        ("evaluate nowhere", "nowhere"),
        ("report nowhere", "nowhere"),
        ("data generate antmaze-large-navigate-v0", "floq data download"),
        ("data check nowhere.npz", "nowhere.npz"),
    ],
)
def test_bad_input_is_named_with_the_way_out(command, named, tmp_path, monkeypatch, capsys):
    """Exit status 2, one message on standard error, no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path))
    assert main(command.split()) == 2
    message = capsys.readouterr().err
    assert named in message
    assert "Traceback" not in message


def test_settings_out_of_range_are_refused(capsys):
    """An impossible setting names itself, before any work."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "cube-double-play-singletask-v0", "--config.discount", "1.0"])
    assert ended.value.code == 2
    assert "discount" in capsys.readouterr().err


def test_the_settings_of_a_task_are_its_published_ones(capsys):
    """cube-double has α 300 and two layers by default; an unknown task the advised start."""
    from floq.experiments.presets import find_preset

    published = find_preset("floq", "cube-double-play-singletask-task4-v0")
    assert published.config.bc_coefficient == 300
    assert published.config.critic.network.hidden_sizes == (512, 512)
    advised = find_preset("floq", "cube-triple-play-singletask-v0")
    assert advised.config.normalize_q
    assert "no published settings" in advised.source


def test_training_loads_nothing_that_draws():
    """Matplotlib and scipy.stats took half of the time to import what trains."""
    code = (
        "import sys; import floq.training, floq.experiments.studies.grounds; "
        "print('matplotlib' in sys.modules, 'scipy.stats' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"], result.stderr
