"""Runs on data that is streamed: their order, and that they go on to the same bits."""

import contextlib
import dataclasses
import itertools

import jax
import numpy as np
import pytest
import tiny_algorithm
from seen import seen_data
from tiny_algorithm import Config

import floq
from floq.cli import main
from floq.data.formats import as_sources
from floq.data.loading import streamed_source
from floq.data.streamed import StreamedDataset
from floq.runs.directory import read_config, read_rows
from floq.training.seed_groups import SeedGroups

OPTIONS = {
    "schedule": floq.Schedule(log_interval=20, checkpoint_interval=20),
    "progress": False,
    "processes": 0,
}


@pytest.fixture
def data(tmp_path):
    """A file of 200 rows, of which a part holds about 40."""
    path = tmp_path / "own.npz"
    tiny_algorithm.make_dataset().save(path)
    return floq.DataFile(path, device_memory="1100B")


def leaves(run):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(run.state)]


@pytest.fixture
def images(tmp_path):
    """A file of images and vectors, of whose transitions a part holds about 30."""
    seen_data("both", episodes=20)[0].save(tmp_path / "seen.npz")
    return floq.DataFile(tmp_path / "seen.npz", device_memory="3kB")


ENCODER = floq.EncoderConfig((2,), residual_blocks=0, features=4, frames=2, crop_padding=1)
SEEING = dataclasses.replace(
    floq.small(floq.preset("bc"), width=8, depth=1), batch_size=4, encoder=ENCODER
)


@pytest.mark.parametrize(("kind", "config"), [("data", Config(batch_size=4)), ("images", SEEING)])
def test_a_resumed_run_equals_the_uncut_one(request, tmp_path, kind, config):
    """Cut within a part and between two, it ends with the same bits and the same rows."""
    data = request.getfixturevalue(kind)
    whole = floq.train(config, data, seeds=(0, 1), steps=70, directory=tmp_path / "a", **OPTIONS)
    parts = whole.config.parts
    assert parts is not None
    assert 5 < parts.updates < 15
    cut = tmp_path / "b"
    for steps in (3, parts.updates * 2, parts.updates * 2 + 1):
        if steps == 3:
            floq.train(config, data, seeds=(0, 1), steps=3, directory=cut, **OPTIONS)
        else:
            floq.resume(cut, steps=steps, progress=False, processes=0)
    again = floq.resume(cut, steps=70, progress=False, processes=0)
    assert again.config.parts == parts
    for one, other in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    last = [read_rows(path / "metrics.jsonl")[-2:] for path in (tmp_path / "a", cut)]
    assert last[0] == last[1]


def test_parts_are_exchanged_and_compiled_once(data, tmp_path, monkeypatch):
    """Each part comes once in its turn, and all of them run in one program."""
    used, read = [], []
    use, read_part = SeedGroups.use, StreamedDataset.read

    def counted(self, dataset):
        if dataset is not None:
            used.append(dataset)
        use(self, dataset)
        programs.append(self._programs.update)

    def noted(self, parts, number, seed):
        read.append(number)
        return read_part(self, parts, number, seed)

    programs = []
    monkeypatch.setattr(SeedGroups, "use", counted)
    monkeypatch.setattr(StreamedDataset, "read", noted)
    # Settings of no other test, which would have run the program on other data.
    config = Config(batch_size=4, noise=0.2)
    run = floq.train(config, data, steps=70, directory=tmp_path / "run", **OPTIONS)
    due = -(-70 // run.config.parts.updates)
    assert len(used) == due > 4
    assert read == list(range(due))
    assert programs[0]._cache_size() == 1
    rows = [set(np.asarray(part.rows.rewards).tolist()) for part in used]
    assert all(one != other for one, other in itertools.pairwise(rows))


def test_what_is_learned_does_not_depend_on_streaming(data, tmp_path):
    """The tiny rule finds the same solution from parts as from all of the data."""
    config = Config(batch_size=16)
    options = OPTIONS | {"schedule": floq.Schedule(log_interval=600, checkpoint_interval=600)}
    one = floq.train(config, data, steps=600, directory=tmp_path / "a", **options)
    all_of_it = data._replace(device_memory=None)
    other = floq.train(config, all_of_it, steps=600, directory=tmp_path / "b", **options)
    assert other.config.parts is None
    assert one.config.fingerprint == other.config.fingerprint
    np.testing.assert_allclose(one.state.average, other.state.average, atol=0.1)


@pytest.mark.parametrize(("kind", "config"), [("data", Config(batch_size=4)), ("images", SEEING)])
def test_observations_are_normalised_as_in_memory(request, tmp_path, kind, config, monkeypatch):
    """By mean and deviation of all rows, to a last place of float32, however they are read."""
    data = request.getfixturevalue(kind)
    options = OPTIONS | {"normalize_observations": True, "steps": 2}
    all_of_it = data._replace(device_memory=None)
    due = floq.train(config, all_of_it, directory=tmp_path / "a", **options)
    monkeypatch.setattr("floq.data.memory._PIECE_BYTES", 200)
    found = floq.train(config, data, directory=tmp_path / "b", **options)
    assert found.config.parts is not None
    for one, other in zip(found.config.normalization, due.config.normalization, strict=True):
        np.testing.assert_array_max_ulp(np.float32(one), np.float32(other), maxulp=1)


def test_a_part_that_cannot_be_read_loses_nothing(data, tmp_path, monkeypatch):
    """The error names the file, everything before is saved, and the run goes on later."""
    read = StreamedDataset.read

    def broken(self, parts, number, seed):
        if number == 3:
            raise ValueError("the disk is gone")
        return read(self, parts, number, seed)

    monkeypatch.setattr(StreamedDataset, "read", broken)
    with pytest.raises(OSError, match=r"own\.npz: part 3 of the data.*the disk is gone"):
        floq.train(Config(batch_size=4), data, steps=70, directory=tmp_path / "run", **OPTIONS)
    monkeypatch.undo()
    updates = read_config(tmp_path / "run").parts.updates
    assert floq.load_run(tmp_path / "run").step == 3 * updates
    assert floq.resume(tmp_path / "run", progress=False, processes=0).step == 70


def test_what_needs_all_of_the_data_says_so(data, tmp_path):
    """Batches of offline and online transitions, and sources of other formats, are not streamed."""
    config = Config(batch_size=4)
    run = floq.train(config, data, steps=20, directory=tmp_path / "run", **OPTIONS)
    with pytest.raises(ValueError, match=r"streamed.*'merged'.*buffer=\"online\""):
        floq.finetune(run, steps=2000, env="Pendulum-v1", progress=False, processes=0)
    with pytest.raises(ValueError, match="give its files, in place of a Dataset"):
        floq.resume(run.directory, dataset=tiny_algorithm.make_dataset(), steps=30)
    with pytest.raises(ValueError, match="it says that its actions lie within"):
        floq.train(
            config, data._replace(bounds=((-9.0,), (9.0,))), steps=2, directory=tmp_path / "other"
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"goals": floq.Goals()}, "goals are drawn from the rest of a trajectory"),
        (
            {"online": floq.Online(steps=200, buffer="merged"), "env": "Pendulum-v1"},
            'buffer "merged" draws',
        ),
    ],
)
def test_settings_that_need_all_of_the_data_refuse_a_part(data, tmp_path, settings, words):
    """A size that the data does not fit into is refused beside them by both names."""
    words = words.replace('"', "'")
    with pytest.raises(ValueError, match=f"device_memory is .*streamed; but .*{words}.*Leave"):
        floq.train(Config(batch_size=4), data, steps=20, directory=tmp_path / "run", **settings)
    large = streamed_source(as_sources(data.path), data.device_memory, None)
    with pytest.raises(ValueError, match=f"this data is streamed, but .*{words}.*Give its files"):
        floq.train(Config(batch_size=4), large, steps=20, directory=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*")
def test_the_command_line_streams(data, tmp_path):
    """`--device-memory` cuts the data into parts, which the run notes and goes on with."""
    words = ["train", "--data", str(data.path), "--device-memory", "2kB", "--algorithm", "bc"]
    words += ["--steps", "2", "--log-interval", "2", "--config.batch-size", "4"]
    with contextlib.chdir(tmp_path):
        assert main([*words, "--directory", "run"]) == 0
        parts = read_config(tmp_path / "run").parts
        assert parts is not None
        assert main(["resume", "run", "--steps", "40"]) == 0
        assert main([*words, "--directory", "other", "--device-memory", "much"]) == 2
    assert read_config(tmp_path / "run").parts == parts
