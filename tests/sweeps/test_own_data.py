"""Data of one's own in a sweep: what it means, and how it is refused."""

import numpy as np
import pytest
from sweep_files import OWN, TASK, brief, write_own_data

from floq.presets.methods import find_preset
from floq.sweeps import forecast, read_spec, sweep
from floq.sweeps.comparison import cells_of, dataset_means
from floq.sweeps.estimate import estimate
from floq.sweeps.table import SweepRow
from floq.training import train
from floq.training.sources import DataFile


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with the data."""
    write_own_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(folder, text=OWN):
    (folder / "own.toml").write_text(text)
    return read_spec(folder / "own.toml")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('source = "swing.npz"\n', ""), r"data.swing lacks source"),
        (('"swing.npz"', "3"), r"data.swing.source is 3"),
        (('"swing.npz"', "[]"), r"data.swing.source: no source of data is given"),
        (('"swing.npz"', '"minary:x"'), r"data.swing.source: .*did you mean minari:x"),
        (("env =", "envs ="), r"data.swing has no key 'envs': did you mean env"),
        (("Pendulum-v1", "Pendulum-v9"), r"data.swing.env: .*Pendulum-v9"),
        (
            ("layout =", "layouts ="),
            r"data.swing.reading has no key 'layouts': did you mean layout",
        ),
        (('"transitions"', '"rows"'), r"data.swing.reading.layout is .?rows.?: .* states"),
        (("action_low = -2\n", ""), r"data.swing: action_high is given without action_low"),
        (("action_low = -2", "action_low = 3"), r"data.swing: action_low is 3.0 and action_high"),
        (('"swing"]', f'"{TASK}"]'), r"data.swing is in no tasks: add 'swing'"),
        (('"swing"]', '"swong"]'), r"tasks has 'swong'.* \[data\] has swing"),
        (("[data.swing]", '[data."a/b"]'), r"data.a/b: the name 'a/b' cannot be part of a folder"),
        (("data.swing]", "data.scene-play-v0]"), r"data.scene-play-v0 is called as one of floq's"),
        (("[data.swing]", "[datum.swing]"), r"no key 'datum': did you mean data"),
    ],
)
def test_what_cannot_be_is_named_by_the_spec(change, named, folder):
    """A wrong key or value is refused with its name before anything is read or started."""
    assert change[0] in OWN
    with pytest.raises(ValueError, match=named):
        read(folder, OWN.replace(*change, 1))


def test_a_file_that_is_not_there_is_named(folder):
    """With the key that names it."""
    with pytest.raises(FileNotFoundError, match=r"data.swing.source: .*swong.npz"):
        read(folder, OWN.replace("swing.npz", "swong.npz"))


def test_without_env_nothing_can_be_searched(folder):
    """Trials without a figure cannot be told apart; nor is there a policy to evaluate."""
    without = OWN.replace('env = "Pendulum-v1"\n', "")
    search = "[search]\ntrials = 2\n[algorithms.fql.search]\nbatch_size = { low = 4, high = 8 }\n"
    with pytest.raises(ValueError, match=r"data.swing has no env, .* algorithms.fql.search"):
        read(folder, without + search)
    behaviour = without.replace("[schedule]", "[schedule]\nevaluate_bc = true")
    with pytest.raises(ValueError, match=r"data.swing has no env, and schedule.evaluate_bc"):
        read(folder, behaviour)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("Pendulum-v1", "MountainCarContinuous-v0"), r"data.swing: .*\(2,\).*\(3,\)"),
        (("action_low = -2\naction_high = 2.0\n", ""), r"data.swing: .*Pendulum-v1.* -2.* 2"),
        (('layout = "transitions"', 'filter_key = "a"'), r"data.swing: .*filter_key is 'a'"),
    ],
)
def test_data_and_environment_are_tried_before_the_first_run(change, named, folder):
    """Files that cannot be read so, and an environment of other sizes or units, start nothing."""
    spec = read(folder, OWN.replace(*change, 1))
    with pytest.raises(ValueError, match=named):
        sweep(spec, folder / "runs")
    assert not list((folder / "runs").glob("*/config.json"))


def test_rewards_by_success_are_the_environments_too(folder):
    """One that reports no success starts nothing; the data alone would do."""
    arrays = dict(np.load("swing.npz"))
    np.savez("swing.npz", **arrays, successes=np.arange(40) % 20 == 9)
    text = OWN.replace('layout = "transitions"', 'layout = "transitions", rewards = "success"')
    assert read(folder, text.replace('env = "Pendulum-v1"\n', "")).data["swing"].sizes == (3, 1)
    with pytest.raises(ValueError, match=r"data.swing: .*Pendulum-v1.* success None.* success_rew"):
        sweep(read(folder, text), folder / "runs")
    assert not list((folder / "runs").glob("*/config.json"))


def test_images_are_refused_as_what_they_are(folder):
    """A sweep's data is vectors; what it is in place of these is said in words."""
    arrays = dict(np.load("swing.npz"))
    arrays["observations"] = np.zeros((len(arrays["actions"]), 16, 16, 3), np.uint8)
    np.savez("swing.npz", **arrays)
    said = r"an observation is an image \[16, 16, 3\], and an action of shape \(1,\): both must be"
    with pytest.raises(ValueError, match=said):
        _ = read(folder).data["swing"].sizes


def test_its_settings_are_those_of_new_tasks(folder):
    """What a method starts from where nothing is published, and sizes of the data's own."""
    spec = read(folder)
    runs = forecast(spec, folder)
    assert [run.name for run in runs] == ["swing-floq-seed0", "swing-floq-seed1"]
    assert runs[0].config.normalize_q == find_preset("floq", None).config.normalize_q
    (part,) = estimate(spec, folder)
    assert (part.dataset, part.runs) == ("swing", 2)
    assert spec.data["swing"].sizes == (3, 1)
    assert part.gflops > 0


def test_a_run_on_other_data_is_refused(folder):
    """A folder's run was on one file; the spec now says another, or another environment."""
    text = brief(OWN)
    spec = read(folder, text)
    first = forecast(spec, folder)[0]
    np.savez(folder / "other.npz", **np.load("swing.npz"))
    train(
        first.config,
        DataFile("swing.npz", ((-2.0,), (2.0,)), spec.data["swing"].reading),
        env="Pendulum-v1",
        normalize_observations=True,
        steps=20,
        directory=folder / first.name,
        schedule=first.schedule,
        processes=0,
        progress=False,
    )
    assert estimate(spec, folder)[0].left == 1
    for old, new, named in (
        ("swing.npz", "other.npz", r"data was \('.*swing.npz',\), is \('.*other.npz',\)"),
        ("Pendulum-v1", "MountainCarContinuous-v0", "env was Pendulum-v1, is MountainCar"),
        ("= true", "= false", "normalize_observations was True, is False"),
        ("-2", "-3", r"meaning of actions -1 and 1 was \[-2, 2\], is \[-3, 2\]"),
    ):
        with pytest.raises(ValueError, match=named):
            estimate(read(folder, text.replace(old, new, 1)), folder)


def test_it_has_no_published_figure():
    """In a comparison it is a data set by itself, whatever its name."""
    rows = [SweepRow("a", "My.data", "floq", None, {}, seed, 9, "finished", 0.5) for seed in (0, 1)]
    cells = cells_of(rows)
    assert cells[0].published is None
    (mean,) = dataset_means(cells)
    assert (mean.dataset, mean.tasks, mean.published) == ("My.data", 1, None)
