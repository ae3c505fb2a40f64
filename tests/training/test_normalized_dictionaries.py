"""Normalised vectors beside images: as if data and environment had been normalised by hand."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_algorithm
from same_runs import assert_close, assert_same_run
from seen import seen_data

import floq
from floq.envs.make import EnvironmentSpec
from floq.inspection.probe import critic_of
from floq.observations import EncoderConfig
from floq.presets.changes import small
from floq.presets.methods import preset
from floq.training import Schedule, resume, train

ZERO, UNIT = (300.0, -2.0), (50.0, 0.01)
"""Degrees, say, beside metres."""


def known():
    """Mean and deviation of the places that the data holds, by numpy."""
    places = seen_data("both", zero=ZERO, unit=UNIT)[1][0]["place"].astype(np.float64)
    return places.mean(axis=0), places.std(axis=0)


def config(algorithm="fql", *, frames=1):
    encoder = EncoderConfig(
        channels=(2,), residual_blocks=0, features=4, crop_padding=1, frames=frames
    )
    own = small(preset(algorithm), width=8, depth=1)
    return dataclasses.replace(own, batch_size=8, encoder=encoder)


def trained(directory, own, *, by_hand=False, steps=4, show="both"):
    zero, unit = ZERO, UNIT
    if by_hand:
        mean, deviation = known()
        zero, unit = tuple((zero - mean) / deviation), tuple(unit / deviation)
    units = {"zero": zero, "unit": unit}
    return train(
        own,
        seen_data(show, **units)[0],
        env=EnvironmentSpec("seen:make_seen", {"show": show, "max_episode_steps": 6, **units}),
        steps=steps,
        directory=directory,
        schedule=Schedule(log_interval=2, evaluation_interval=4, evaluation_episodes=2),
        normalize_observations=not by_hand,
        processes=0,
        progress=False,
    )


def first_states():
    """The first state of the data as the environment shows it, and normalised by hand."""
    shown = seen_data("both", zero=ZERO, unit=UNIT)[1][0]
    raw = {name: values[0] for name, values in shown.items()}
    mean, deviation = known()
    return raw, {**raw, "place": ((raw["place"] - mean) / deviation).astype(np.float32)}


def pair_of(folder, own):
    """A run that normalises, and one whose vectors were normalised by hand."""
    return trained(folder / "ours", own), trained(folder / "hand", own, by_hand=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Runs of a method with a critic, which see two frames."""
    return pair_of(tmp_path_factory.mktemp("pair"), config(frames=2))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Runs of behaviour cloning, which see one frame."""
    return pair_of(tmp_path_factory.mktemp("plain"), config("bc"))


def test_mean_and_deviation_are_those_of_the_vectors(pair):
    """Of all rows of the data; a picture has none."""
    for found, due in zip(pair[0].config.normalization, known(), strict=True):
        np.testing.assert_allclose(found, due, rtol=1e-5)


@pytest.mark.parametrize("runs", ["pair", "plain"])
def test_a_run_equals_one_on_data_normalised_by_hand(runs, request):
    """Networks, metrics and evaluations are the same, up to rounding."""
    assert_same_run(*request.getfixturevalue(runs), 1e-4)


def test_whoever_calls_the_policy_gives_raw_observations(pair):
    """Actor and the critic of an inspection read what the environment shows."""
    (ours, theirs), (raw, by_hand) = pair, first_states()
    assert_close(ours.actor().act(raw), theirs.actor().act(by_hand), 1e-4)
    form = ours.config.statistics.observations
    frames = [jnp.tile(form.bare.pack(one)[None], form.frames) for one in (raw, by_hand)]
    noise, actions = jnp.full((1, 3), -2.0), jnp.zeros((1, 1))
    values = [
        eqx.filter_jit(critic_of(run, 0).values)(rows, actions, noise)
        for run, rows in zip(pair, frames, strict=True)
    ]
    assert_close(*values, 1e-4)


def test_an_exported_policy_normalises(pair, tmp_path):
    """Its program takes raw arrays, and its record says by which numbers, vector by vector."""
    ours, theirs = (
        floq.load_policy(run.export(tmp_path / name, format="jax"))
        for run, name in zip(pair, ("ours", "hand"), strict=True)
    )
    scale = ours.record["observations"]["normalization"]
    assert list(scale) == ["place"]
    np.testing.assert_allclose(scale["place"]["deviation"], known()[1], rtol=1e-5)
    assert theirs.record["observations"]["normalization"] is None
    raw, by_hand = first_states()
    assert_close(ours.act(raw), theirs.act(by_hand), 1e-4)


def test_a_resumed_run_equals_the_uncut_one(plain, tmp_path):
    """To the bit, and it goes on normalising by what the run notes."""
    whole, _ = plain
    trained(tmp_path / "cut", config("bc"), steps=2)
    dataset = seen_data("both", zero=ZERO, unit=UNIT)[0]
    cut = resume(tmp_path / "cut", dataset=dataset, steps=4, processes=0)
    for left, right in zip(jax.tree.leaves(whole.state), jax.tree.leaves(cut.state), strict=True):
        np.testing.assert_array_equal(left, right)


def test_pictures_alone_have_nothing_to_normalise(tmp_path):
    with pytest.raises(ValueError, match=r"observations are an image .*only vectors"):
        trained(tmp_path / "run", config(), show="image")
    assert not (tmp_path / "run").exists()


def test_networks_that_read_bytes_by_themselves_are_refused(tmp_path):
    """Who reads rows without an `Encoder` would see what is not normalised, and not know."""
    with pytest.raises(ValueError, match=r"networks of its own, not by floq\.networks\.Encoder"):
        trained(tmp_path / "run", tiny_algorithm.Config(batch_size=4))
    assert not (tmp_path / "run").exists()
