"""Fine-tuning: a run on data goes on in its environment."""

import dataclasses

import pytest
from online_runs import (
    DATASET,
    ONLINE,
    assert_same_end,
    go_on,
    run_tiny,
)

from floq.cli import main
from floq.training import finetune, load_run


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run on data."""
    return run_tiny(tmp_path_factory.mktemp("offline") / "run", online=None)


def test_finetuning_a_run_is_training_it_on(uncut_online, offline):
    """An offline run, continued, ends as the run that did both: networks, rows, buffers."""
    before = {path: path.read_bytes() for path in offline.directory.rglob("*") if path.is_file()}
    run = finetune(offline.directory, online=ONLINE, dataset=DATASET, processes=0, progress=False)
    assert run.directory == offline.directory.with_name("run-online")
    assert_same_end(run, uncut_online)
    assert run.config == uncut_online.config
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(ValueError, match="has trained in its environment already"):
        finetune(run, online=ONLINE, dataset=DATASET)


def test_steps_are_those_of_their_own_phase(uncut_online, offline, tmp_path):
    """Neither can lie behind; updates on data are over once the environment is stepped."""
    with pytest.raises(ValueError, match=r"does not train in its environment, so online_steps"):
        go_on(offline.directory, online_steps=200)
    with pytest.raises(ValueError, match=r"is at step 100, so steps cannot be 99"):
        go_on(offline.directory, steps=99)
    before = (uncut_online.directory / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"after 100 updates on its data, so steps cannot be 101"):
        go_on(uncut_online.directory, steps=101)
    with pytest.raises(ValueError, match=r"at step 200 in its environment, so online_steps cannot"):
        go_on(uncut_online.directory, online_steps=198)
    assert before == (uncut_online.directory / "config.json").read_bytes()
    run_tiny(
        tmp_path / "nothing",
        steps=0,
        online=dataclasses.replace(ONLINE, steps=20, buffer="online"),
        dataset=None,
    )
    with pytest.raises(ValueError, match=r"has no data to go on with, so steps cannot be 10"):
        go_on(tmp_path / "nothing", steps=10)


def test_the_command_finetunes_a_run(tmp_path, capsys):
    """`floq finetune RUN` makes RUN-online, and says where it lies."""
    run_tiny(tmp_path / "run", online=None, steps=4, seeds=(0,))
    options = "--online-steps 8 --buffer online --updates-per-step 0.5 --processes 1"
    schedule = "--evaluation-episodes 1"
    assert main(["finetune", str(tmp_path / "run"), *options.split(), *schedule.split()]) == 0
    assert "run-online: 12 steps are done" in capsys.readouterr().out
    run = load_run(tmp_path / "run-online")
    assert run.config.fingerprint is None
    assert run.state.step.tolist() == [4 + 3]
