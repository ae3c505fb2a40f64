"""The command line: its help, its errors and its exit statuses."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from floq.cli import _COMMANDS, main
from floq.commands.training import say_done
from floq.presets.methods import preset
from floq.runs.run import load_run


def test_help_names_every_command(capsys):
    """`floq`, `floq -h` and `floq --help` list all commands."""
    for arguments in ([], ["-h"], ["--help"]):
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in _COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(name, capsys):
    """`floq COMMAND --help` ends with success and describes the options."""
    assert main([*name.split(), "--help"]) == 0
    assert f"floq {name}" in capsys.readouterr().out


def test_ctrl_c_during_the_imports_ends_a_command():
    """As afterwards: with the status 130, and no traceback out of what was imported."""
    program = """if True:
        import builtins, sys
        from floq.__main__ import command

        def stop(name, *rest):
            if name.startswith("floq.commands"):
                raise KeyboardInterrupt
            return usual(name, *rest)

        usual, builtins.__import__ = builtins.__import__, stop
        sys.exit(command())
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, b"floq: stopped.\n")


def test_version(capsys):
    """`floq --version` gives the package's."""
    import floq

    assert main(["--version"]) == 0
    assert floq.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    ["--help", *(pytest.param(one, marks=pytest.mark.slow) for one in ("presets", "train --help"))],
)
def test_a_reader_who_has_enough_is_no_error(arguments):
    """What is written into a closed pipe, as by `floq presets | head -1`, makes no noise."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "floq", *arguments.split()]
    ended = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, timeout=60)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("nonsense", "nonsense"),
        ("data", "data generate"),
        ("train cube-dubble-play-singletask-v0", "cube-double-play-singletask-v0"),
        ("train --seeds 0 1 cube-dubble-play-singletask-v0", "cube-double-play-singletask-v0"),
        ("train", "no task is given: name one, as in `floq train cube-double-play-singletask-v0`"),
        ("train --algorithm fql --steps 10", "no task is given"),
        ("train --env Pendulum-v1 --online-steps 10", "no task is given"),
        ("train cube-double-play-singletask-v0 --algorithm ppo", "ppo"),
        (
            "train --directory antmaze-large-navigate-singletask-v0 cube-double-play-singletask-v0",
            "floq data generate",
        ),
        ("train cube-double-play-singletask-v0", "floq data generate"),
        ("train antmaze-large-navigate-singletask-v0", "floq data download"),
        ("resume nowhere", "nowhere"),
        ("evaluate nowhere", "nowhere"),
        ("report nowhere", "nowhere"),
        ("data generate antmaze-large-navigate-v0", "floq data download"),
        ("data check nowhere.npz", "nowhere.npz"),
        ("train --data x.npz --reward sparse", "leave it out beside"),
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


TASK = "cube-double-play-singletask-v0"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"train --algorithm fql {TASK}", {"task": TASK, "algorithm": "fql"}),
        (f"train --algorithm=fql {TASK} --steps 10", {"task": TASK, "steps": 10}),
        (f"train --seeds 0 1 {TASK}", {"task": TASK, "seeds": (0, 1)}),
        (f"train --seeds 0 1 {TASK} --steps=1e6", {"seeds": (0, 1), "steps": 1_000_000}),
        (f"train --seeds 1e0 -- {TASK}", {"task": TASK, "seeds": (1,)}),
        (f"train --reward-range -1 0 {TASK} --online-steps 1e5", {"online_steps": 100_000}),
        (f"train --reward-range -1 0 {TASK}", {"task": TASK, "reward_range": (-1.0, 0.0)}),
        (f"train --evaluate-bc --offline-steps 5 {TASK}", {"task": TASK, "steps": 5}),
        ("resume --steps 2e6 RUN", {"directory": Path("RUN"), "steps": 2_000_000}),
        ("finetune --directory NEW RUN", {"run_directory": Path("RUN"), "directory": Path("NEW")}),
        ("evaluate --integration-steps 1 2 RUN --seed 1", {"integration_steps": (1, 2)}),
        ("evaluate --bc RUN", {"directory": Path("RUN"), "bc": True}),
        ("report A -o page.html B", {"directories": (Path("A"), Path("B"))}),
        ("report -o page.html A B", {"directories": (Path("A"), Path("B"))}),
        ("inspect --integration-steps 1 4 RUN -o page.html", {"directory": Path("RUN")}),
        ("sweep --dry-run --directory NEW spec.toml", {"spec": Path("spec.toml")}),
        ("study --variants K=1 K=8 NAME", {"name": "NAME", "variants": ("K=1", "K=8")}),
        ("study --seeds 0 1 NAME --list", {"name": "NAME", "seeds": (0, 1), "list": True}),
        ("data generate --episodes 1e2 NAME", {"name": "NAME", "episodes": 100}),
        ("data download --mirror A B NAME --timeout 3", {"name": "NAME", "mirror": ("A", "B")}),
        ("data check --directory DATA NAME", {"target": "NAME"}),
        ("data info --directory DATA NAME", {"target": "NAME"}),
    ],
)
def test_options_stand_before_or_after(line, expected, monkeypatch):
    """Options of numbers, of texts and flags may stand before what a command is about."""
    found = []
    for command in _COMMANDS.values():
        monkeypatch.setattr(command, "run", lambda own: found.append(own) or 0)
    assert main(line.split()) == 0
    assert {name: getattr(found[0], name) for name in expected} == expected


def test_settings_of_the_named_task_and_algorithm_are_the_defaults(monkeypatch):
    """Whatever stands before the task: its own settings are trained, and 1e6 is a whole number."""
    found = []
    monkeypatch.setattr(_COMMANDS["train"], "run", lambda own: found.append(own.config) or 0)
    options = "--directory antmaze-giant-navigate-singletask-v0 --config.learning-rate-decay 1e6"
    sizes = "--config.critic.network.hidden-sizes 64 64"
    assert main(f"train {options} {sizes} --algorithm fql-iqn {TASK}".split()) == 0
    published = preset("fql-iqn", TASK)
    network = dataclasses.replace(published.critic.network, hidden_sizes=(64, 64))
    critic = dataclasses.replace(published.critic, network=network)
    assert found == [dataclasses.replace(published, learning_rate_decay=1_000_000, critic=critic)]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (f"train --steps 1.5 {TASK}", "'1.5' is no whole number"),
        (f"train {TASK} --seeds 0,1", "0,1"),
        (f"train --bogus 4 {TASK}", "--bogus"),
        ("resume --stepss 4 RUN", "--steps"),
        ("resume --steps nan RUN", "'nan' is no whole number"),
        ("resume", "The run"),
    ],
)
def test_a_wrong_option_is_named(line, named, capsys):
    """An unknown option, and a value that is none, are said with tyro's help; exit status 2."""
    assert main(line.split()) == 2
    assert named in capsys.readouterr().err


def test_settings_out_of_range_are_refused(capsys):
    """An impossible setting names itself, before any work."""
    assert main(["train", "cube-double-play-singletask-v0", "--config.discount", "1.0"]) == 2
    assert "discount" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "work"),
    [
        ("report", "floq.reports.report.rollout_sections"),
        ("record", "floq.reports.rollout.play"),
        ("inspect", "floq.inspecting._data_of"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    line, work, finished, tmp_path, monkeypatch, capsys
):
    """A folder, and a place that takes no file, are named with the way out."""
    monkeypatch.setattr(work, None)
    folder, file = tmp_path / "folder.webp", tmp_path / "file"
    folder.mkdir()
    file.touch()
    for output, words in (
        (folder, f"{folder} is a folder: name a file"),
        (file / "out.webp", "out.webp cannot be written"),
    ):
        assert main([line, str(finished.directory), "-o", str(output)]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "work"),
    [
        (
            "data generate pointmaze-medium-navigate-v0",
            "floq.data.generation.collect.collect_parts",
        ),
        ("data download cube-double-play-v0", "floq.data.download._Fetch"),
        ("study strata", "floq.studies.runner.compute_cells"),
    ],
)
def test_a_folder_that_cannot_be_is_refused_before_the_work(
    line, work, tmp_path, monkeypatch, capsys
):
    """By the command that would fill it, with the way out."""
    if line.startswith("data generate"):
        pytest.importorskip("ogbench")
    monkeypatch.setattr(work, None)
    file = tmp_path / "file"
    file.touch()
    assert main([*line.split(), "--directory", str(file / "inner")]) == 2
    assert f"{file}/inner cannot be written (Not a directory): give another" in (
        capsys.readouterr().err
    )


def test_a_run_that_is_done_says_its_last_evaluation(copy, capsys):
    """The success of each policy, or its return where there is none, and where loggers keep it."""
    path = copy()
    said = {"success": "floq: success 0.00 at step 4", "return": "floq: return "}
    for figure, words in said.items():
        say_done(load_run(path), loggers=["tensorboard"])
        shown = capsys.readouterr().out
        assert words in shown
        assert "bc: " in shown
        assert f"  tensorboard --logdir {path}/tensorboard\n" in shown
        assert ("return" in shown) == (figure == "return")
        rows = [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]
        rows = [{name: one for name, one in row.items() if "success" not in name} for row in rows]
        (path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_settings_of_a_task_are_its_published_ones(capsys):
    """cube-double has α 300 and two layers by default; an unknown task the advised start."""
    from floq.presets.methods import find_preset

    published = find_preset("floq", "cube-double-play-singletask-task4-v0")
    assert published.config.bc_coefficient == 300
    assert published.config.critic.network.hidden_sizes == (512, 512)
    advised = find_preset("floq", "cube-triple-play-singletask-v0")
    assert advised.config.normalize_q
    assert "no published settings" in advised.source


def test_the_help_of_a_training_says_what_a_cpu_can_do(capsys):
    """Before a beginner waits for the published size: that it wants a GPU, and what does not."""
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Published sizes want a GPU" in shown
    assert "floq-small is for a CPU" in shown


@pytest.mark.parametrize("name", ["generate", "download"])
def test_what_puts_data_elsewhere_says_how_it_is_found_there(name, capsys):
    """A training has no option for the folder."""
    assert main(["data", name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "`floq train` finds them where FLOQ_DATA names it" in shown


def test_training_loads_nothing_that_draws():
    """Matplotlib and scipy.stats took half of the time to import what trains."""
    code = (
        "import sys; import floq.training, floq.studies.grounds; "
        "print('matplotlib' in sys.modules, 'scipy.stats' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"], result.stderr
