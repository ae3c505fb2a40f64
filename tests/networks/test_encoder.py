"""Encoders: what a network reads of images, once a state, and the crops of augmentation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.flow_matching import integrate
from floq.networks import Encoder, NetworkConfig, augment, create_encoder, map_members
from floq.networks.encoder import unpack
from floq.observations import EncoderConfig, ObservationForm, Part
from floq.types import Batch, Statistics

SMALL = EncoderConfig(channels=(2, 3), features=5, crop_padding=2, crop_share=1.0)
FORM = ObservationForm((Part("arm", (3,)), Part("camera", (8, 8, 1))), encoder=SMALL)


def rows(count, form=FORM, seed=0):
    """Observations of random images and vectors, with distinct values."""
    generator = np.random.default_rng(seed)
    frames = [
        {
            "arm": generator.normal(size=(count, 3)).astype(np.float32),
            "camera": generator.integers(0, 256, (count, 8, 8, 1), np.uint8),
        }
        for _ in range(form.frames)
    ]
    packed = [form.pack(one, axes=1) for one in frames]
    return jnp.asarray(np.concatenate(packed, axis=1)), frames


def test_impala_small_has_the_published_shape():
    """Of nine channels of 64 × 64 pixels: 512 features by 1.1 million parameters."""
    form = ObservationForm((Part("", (64, 64, 3)),), frames=3)
    encoder = jax.eval_shape(lambda: Encoder(form, key=jax.random.key(0)))
    assert encoder.size == 512
    first = encoder.images[0].stacks[0].first.kernel
    assert first.shape == (3, 3, 9, 16)
    assert encoder.images[0].dense.kernel.shape == (8 * 8 * 32, 512)
    assert sum(leaf.size for leaf in jax.tree.leaves(encoder)) == 1_105_920


@pytest.mark.parametrize("side", [pytest.param(7, marks=pytest.mark.slow), 8])
def test_a_cpu_and_an_accelerator_encode_alike(side, monkeypatch):
    """Products of neighbourhoods are XLA's convolutions and pooling, in values and gradients."""
    config = EncoderConfig(channels=(2, 3), features=5)
    form = ObservationForm((Part("", (side, side, 2)),), encoder=config)
    encoder = Encoder(form, key=jax.random.key(0))
    generator = np.random.default_rng(0)
    images = jnp.asarray(generator.integers(0, 256, (4, side * side * 2), np.uint8))

    def both():
        return jax.jit(jax.value_and_grad(lambda one: jnp.sum(jnp.square(one(images)))))(encoder)

    monkeypatch.setattr("floq.networks.encoder.batches_products", lambda: False)
    here = both()
    monkeypatch.setattr("floq.networks.encoder.batches_products", lambda: True)
    there = both()
    for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_is_packed_comes_back():
    """Vectors to the bit and images to the byte, in numpy and on the device; frames in order."""
    form = FORM._replace(frames=2)
    packed, frames = rows(4, form)
    assert packed.dtype == jnp.uint8
    (arm, arms), (camera, cameras) = unpack(form, packed)
    assert (arm.name, camera.name) == ("arm", "camera")
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(arms[:, index], frame["arm"])
        np.testing.assert_array_equal(cameras[:, index], frame["camera"])
    again = FORM.bare.unpack(np.asarray(packed)[:, : FORM.nbytes])
    np.testing.assert_array_equal(again["camera"], frames[0]["camera"])
    np.testing.assert_array_equal(again["arm"], frames[0]["arm"])


def test_a_critic_encodes_a_state_once_and_gives_the_values_of_doing_so_each_time(monkeypatch):
    """K evaluations on the features are K evaluations of the field at encoded images."""
    statistics = Statistics(FORM.nbytes, 2, -1.0, 0.0, FORM)
    config = FlowCriticConfig(
        integration_steps=4, noise_samples=3, network=NetworkConfig((8,), layer_norm=True)
    )
    critic = FlowCritic(statistics, config, discount=0.9, key=jax.random.key(0))
    observations, _ = rows(5)
    actions = jax.random.uniform(jax.random.key(1), (5, 3, 2))
    noise = critic.sample_noise((5, 3), key=jax.random.key(2))

    def carry(member):
        def velocity(time, value):
            features = critic.encoder(observations)
            return member(member.condition(features, actions), value, time)

        return integrate(velocity, noise, steps=4)

    samples = jax.jit(lambda *rows: critic.return_samples(*rows))
    found = samples(observations, actions, noise)
    np.testing.assert_allclose(found, map_members(carry, critic.members), atol=1e-6)
    calls = []
    encode = Encoder.__call__
    monkeypatch.setattr(
        Encoder, "__call__", lambda self, rows: calls.append(rows.shape) or encode(self, rows)
    )
    jax.make_jaxpr(critic.return_samples)(observations, actions, noise)
    assert calls == [observations.shape]
    order = jnp.array([3, 0, 4, 1, 2])
    permuted = samples(observations[order], actions[order], noise[order])
    np.testing.assert_allclose(permuted, found[:, order], atol=1e-6)


def test_vectors_have_no_encoder_and_the_key_they_had():
    """What networks of vectors are made from is what they are given."""
    statistics = Statistics(4, 2, -1.0, 0.0)
    assert create_encoder(statistics, key=jax.random.key(0)) == (None, statistics)


@pytest.mark.parametrize("frames", [1, 2])
def test_crops_shift_observation_and_next_alike(frames):
    """All frames by one offset a transition, over repeated edges; vectors stay as they are."""
    form = FORM._replace(frames=frames)
    (before, was), (after, _) = rows(6, form), rows(6, form, seed=1)
    nothing = jnp.zeros(6)
    batch = Batch(before, jnp.zeros((6, 1)), nothing, nothing, after)
    key = jax.random.key(3)
    cropped = augment(batch, form, SMALL, key=key)
    offsets = []
    for row in range(6):
        image = np.pad(was[0]["camera"][row, ..., 0], 2, mode="edge")
        found = np.asarray(unpack(form, cropped.observations)[1][1][row, 0, ..., 0])
        matches = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(image[y : y + 8, x : x + 8], found)
        ]
        assert len(matches) == 1
        y, x = matches[0]
        offsets.append((y, x))
        for one, other in zip(batch, cropped, strict=True):
            if one is None or one.dtype != jnp.uint8:
                continue
            for frame in range(frames):
                source = np.asarray(unpack(form, one)[1][1][row, frame, ..., 0])
                seen = np.asarray(unpack(form, other)[1][1][row, frame, ..., 0])
                due = np.pad(source, 2, mode="edge")[y : y + 8, x : x + 8]
                np.testing.assert_array_equal(seen, due)
    assert len(set(offsets)) > 1
    (_, arms), _ = unpack(form, cropped.observations)
    np.testing.assert_array_equal(arms[:, 0], was[0]["arm"])


def test_the_coin_crops_a_share_of_the_batches():
    """A batch is cropped whole or not at all, about half of the time."""
    config = dataclasses.replace(SMALL, crop_share=0.5)
    images, _ = rows(6)
    nothing = jnp.zeros(6)
    batch = Batch(images, jnp.zeros((6, 1)), nothing, nothing, images)

    def is_same(key):
        return jnp.all(augment(batch, FORM, config, key=key).observations == images)

    same = jax.vmap(is_same)(jax.random.split(jax.random.key(0), 200))
    assert 70 < int(same.sum()) < 130
    kept = augment(batch, FORM, dataclasses.replace(SMALL, crop_padding=0), key=jax.random.key(0))
    assert kept is batch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, "channels are"),
        ({"features": 0}, "features is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"crop_share": 1.5}, "crop_share is 1.5"),
    ],
)
def test_an_encoder_that_is_none_is_refused(changes, message):
    """The message names the setting and its value."""
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**changes)
