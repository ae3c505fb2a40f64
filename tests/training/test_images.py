"""Training from images and dictionaries: every algorithm, offline and online, to the bit."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest
import safetensors.numpy
from seen import make_seen, seen_data

from floq.algorithms import algorithm_of, bc, floq, fql, ifql, iql, rebrac
from floq.critics import CategoricalCriticConfig, FlowCriticConfig, QuantileCriticConfig
from floq.data.replay import ReplayBuffer
from floq.envs.make import EnvironmentSpec
from floq.networks.modules import named_leaves
from floq.observations import EncoderConfig
from floq.presets.changes import small
from floq.training import Online, Schedule, resume, train
from floq.training.checks import buffer_size

ENCODER = EncoderConfig(channels=(2,), residual_blocks=0, features=4, crop_padding=1)
SCHEDULE = Schedule(
    log_interval=2, evaluation_interval=4, evaluation_episodes=2, checkpoint_interval=2, keep=9
)
FLOW = FlowCriticConfig(integration_steps=2, noise_samples=2)


def tiny(config, **changes):
    """The config with networks of a few units."""
    encoder = dataclasses.replace(ENCODER, **changes)
    return dataclasses.replace(small(config, width=8, depth=1), batch_size=4, encoder=encoder)


def spec_of(show):
    return EnvironmentSpec("seen:make_seen", {"show": show, "max_episode_steps": 6})


def run_in(directory, config, show="image", *, steps=4, **options):
    dataset = seen_data(show)[0]
    return train(
        config,
        dataset,
        env=spec_of(show),
        steps=steps,
        directory=directory,
        schedule=SCHEDULE,
        processes=0,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def cloned(tmp_path_factory):
    """A run of behaviour cloning that sees two frames."""
    return run_in(tmp_path_factory.mktemp("cloned") / "run", tiny(bc.Config(), frames=2))


def leaves_equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


CONFIGS = {
    "floq": floq.Config(critic=FLOW),
    "floq-best": floq.Config(critic=FLOW, candidates=2, target_candidates=2),
    "fql": fql.Config(),
    "fql-flow": fql.Config(critic=FLOW),
    "fql-quantile": fql.Config(critic=QuantileCriticConfig(quantile_samples=2)),
    "fql-categorical": fql.Config(critic=CategoricalCriticConfig()),
    "rebrac": rebrac.Config(policy_interval=1),
    "iql": iql.Config(),
    "ifql": ifql.Config(candidates=2),
    "bc": bc.Config(),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "show"), [("floq", "both"), ("fql", "image")])
def test_a_resumed_run_from_images_equals_the_uncut_one(name, show, tmp_path):
    """Offline and evaluated in workers' bytes; the parameters are the same to the bit."""
    config = tiny(CONFIGS[name], frames=2)
    uncut = run_in(tmp_path / "uncut", config, show)
    run_in(tmp_path / "cut", config, show, steps=2)
    data = seen_data(show)[0]
    again = resume(tmp_path / "cut", dataset=data, steps=4, processes=0, progress=False)
    assert again.step == 4
    assert leaves_equal(uncut.state, again.state)
    assert [row["return"] for row in uncut.evaluations] == [
        row["return"] for row in again.evaluations if row["step"] == 4
    ]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("fql-flow", "rebrac", "bc") else pytest.param(name, marks=pytest.mark.slow)
        for name in CONFIGS
    ],
)
def test_every_algorithm_and_critic_learns_from_images(name):
    """An update moves each network's encoder, and actions come of the same bytes."""
    config = tiny(CONFIGS[name], features=8)
    _, algorithm = algorithm_of(config)
    data = seen_data()[0]
    batch = data.take(jax.numpy.arange(4))
    assert batch.observations.dtype == np.uint8

    @eqx.filter_jit
    def learn(batch):
        state = algorithm.init(config, data.statistics, key=jax.random.key(0))
        after, metrics = algorithm.update(config, state, batch, key=jax.random.key(1))
        keys = jax.random.split(jax.random.key(2), 4)
        return state, after, metrics, algorithm.act(config, after, batch.observations, keys=keys)

    state, after, metrics, actions = learn(batch)
    assert all(np.isfinite(value) for value in metrics.values())
    assert actions.shape == (4, 1)
    before, later = named_leaves(state.parameters), named_leaves(after.parameters)
    kernels = [name for name in before if "stacks" in name and name.endswith("kernel")]
    assert kernels
    assert all((before[name] != later[name]).any() for name in kernels)


def test_the_bytes_of_online_buffers_are_those_that_they_take(cloned):
    """Those of states, actions, rewards and masks of all seeds; vectors are not spoken of."""
    config = cloned.config
    online = Online(steps=5_000, warmup=8, capacity=2_000, environments=2)
    config = config._replace(online=online, seeds=(0, 1))
    form = config.statistics.observations
    buffer = ReplayBuffer.create(
        np.zeros((2, 64), np.uint8), 1, rows=online.rows_per_environment, discount=0.9, form=form
    )
    taken = (buffer.observations, buffer.actions, buffer.rewards, buffer.masks)
    size = 2 * sum(array.nbytes for array in taken)
    words = buffer_size(config, 1)
    assert f"buffers will take {size / 1e6:.1f} MB: 2 seeds of 2,000 transitions of 76" in words
    statistics = config.statistics._replace(observations=None)
    assert buffer_size(config._replace(statistics=statistics), 1) == ""


@pytest.mark.slow
def test_online_training_from_images_resumes_to_the_bit(tmp_path, capsys):
    """The ring, its shards and what is saved of environments hold bytes, each frame once."""
    config = tiny(CONFIGS["fql"], frames=2)
    online = Online(steps=24, warmup=8, capacity=20)
    whole = run_in(tmp_path / "whole", config, steps=2, online=online)
    cut = dataclasses.replace(online, steps=14)
    run_in(tmp_path / "cut", config, steps=2, online=cut)
    # Said once, at the start of each of the two.
    assert capsys.readouterr().err.count("The online buffer will take") == 2
    again = resume(
        tmp_path / "cut",
        dataset=seen_data()[0],
        online_steps=24,
        processes=0,
        progress=False,
    )
    assert leaves_equal(whole.state, again.state)
    shards = [read for read in (tmp_path / "cut").rglob("rows/*.safetensors")]
    arrays = safetensors.numpy.load_file(shards[0])
    assert arrays["observations"].dtype == np.uint8
    assert arrays["observations"].shape[1] == 64


def test_an_actor_does_as_the_evaluated_policy(cloned):
    """Step by step with its own stack of frames, from images as the environment gives them."""
    env, actor = make_seen(), cloned.actor(seed=3)
    observations = [env.reset(seed=0)[0]]
    observations += [env.step(np.ones(1))[0] for _ in range(2)]
    found = [actor.act(one) for one in observations]
    rows = np.stack([one.reshape(-1) for one in observations])
    stacks = np.concatenate([rows[[0, 0, 1]], rows], axis=1)
    key = jax.random.fold_in(jax.random.key(3), 0)
    for step, (stack, action) in enumerate(zip(stacks, found, strict=True)):
        own = jax.random.fold_in(jax.random.fold_in(key, step), 0)
        due = cloned.policy(stack[None], own[None])[0]
        np.testing.assert_allclose(action, due, atol=1e-6)
    with pytest.raises(ValueError, match="dtype float32: give bytes, uint8"):
        actor.act(observations[0].astype(np.float32))
