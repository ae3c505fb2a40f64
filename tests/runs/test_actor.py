"""Acting step by step by a run's policy: its keys, its plans, its units, its errors."""

import jax
import numpy as np
import pytest

import floq
from floq.envs.make import EnvironmentSpec
from floq.envs.preflight import preflight

POLICY = floq.FlowPolicyConfig(flow_steps=1)


def small(config, **changes):
    return floq.small(config(batch_size=4, policy=POLICY, **changes), width=8, depth=1)


def dataset(**bounds):
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(60, 3)).astype(np.float32)
    actions = generator.uniform(-1, 1, (60, 2)).astype(np.float32)
    if bounds:
        actions = actions * [3.0, 8.0] + [1.0, 0.0]
    return floq.Dataset.from_transitions(
        observations[:-1],
        actions[:-1],
        np.linspace(-1, 0, 59, dtype=np.float32),
        np.ones(59, np.float32),
        observations[1:],
        **bounds,
    )


def trained(directory, config, data):
    return floq.train(config, data, directory=directory, seeds=(3, 5), steps=2, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two seeds, on data in [-1, 1]."""
    return trained(tmp_path_factory.mktemp("plain") / "run", small(floq.BCConfig), dataset())


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    """Three actions a decision, on data whose actions go from -2 to 4 and from -8 to 8."""
    config = small(floq.BCConfig, action_chunk=3)
    data = dataset(action_low=[-2.0, -8.0], action_high=[4.0, 8.0])
    return trained(tmp_path_factory.mktemp("chunks") / "run", config, data)


def keys(seed, episode, step, rows):
    """The keys that the documentation names."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), episode), step)
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(np.arange(rows))


OBSERVATIONS = np.random.default_rng(1).normal(size=(9, 4, 3)).astype(np.float32)


def test_it_does_what_the_policy_does_with_the_same_keys(run):
    """One observation or a batch, in every episode; another seed has other noise."""
    batched, single = run.actor(seed=7), run.actor(seed=7)
    for episode in range(2):
        for step in range(2):
            seen = OBSERVATIONS[step]
            expected = np.clip(run.policy(seen, keys(7, episode, step, 4)), -1, 1)
            np.testing.assert_allclose(batched.act(seen), expected, atol=1e-6)
            np.testing.assert_allclose(single.act(seen[0]), expected[0], atol=1e-6)
        batched.reset()
        single.reset()
    assert single.act(OBSERVATIONS[0, 0]).shape == (2,)
    assert (run.actor(seed=8).act(seen) != run.actor(seed=7).act(seen)).any()


def test_a_run_is_shown_in_a_line(run):
    """Where it lies, what it is and how far it came; not its state."""
    shown = repr(run)
    assert "\n" not in shown
    assert len(shown) < 300
    for part in (str(run.directory), run.config.algorithm, f"step {run.step:,} of"):
        assert part in shown


def test_a_reset_before_the_first_act_changes_nothing(run):
    """Every loop resets first; the first episode is number 0 all the same."""
    actor = run.actor(seed=7)
    actor.reset()
    expected = np.clip(run.policy(OBSERVATIONS[0], keys(7, 0, 0, 4)), -1, 1)
    np.testing.assert_allclose(actor.act(OBSERVATIONS[0]), expected, atol=1e-6)


def test_a_seed_that_no_noise_has_is_refused(run):
    """By its value, before anything acts."""
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed is {seed}: give a whole number"):
            run.actor(seed=seed)


def test_it_acts_by_the_seed_that_is_asked_for(run):
    """The run's first one by default; one that the run does not have is refused."""
    seen = OBSERVATIONS[0]
    expected = np.clip(run.policy_of(5)(seen, keys(0, 0, 0, 4)), -1, 1)
    np.testing.assert_allclose(run.actor(policy_seed=5).act(seen), expected, atol=1e-6)
    assert (run.actor(policy_seed=3).act(seen) == run.actor().act(seen)).all()
    with pytest.raises(ValueError, match="has no seed 4"):
        run.actor(policy_seed=4)


def test_chunks_are_carried_out_before_it_asks_again(chunks):
    """Three actions by what was seen first, in the data's units; a reset drops what is left."""
    actor = chunks.actor()
    done = np.stack([actor.act(seen) for seen in OBSERVATIONS[:6]])
    for start in (0, 3):
        plan = chunks.policy(OBSERVATIONS[start], keys(0, 0, start, 4))
        unit = np.clip(plan, -1, 1).reshape(4, 3, 2).swapaxes(0, 1)
        np.testing.assert_allclose(
            done[start : start + 3], unit * [3.0, 8.0] + [1.0, 0.0], atol=1e-4
        )
    actor.act(OBSERVATIONS[6])
    actor.reset()
    fresh = chunks.policy(OBSERVATIONS[7], keys(0, 1, 0, 4))[:, :2]
    expected = np.clip(fresh, -1, 1) * [3.0, 8.0] + [1.0, 0.0]
    np.testing.assert_allclose(actor.act(OBSERVATIONS[7]), expected, atol=1e-4)


def test_a_loaded_run_acts_alike(chunks):
    """The units are in its files."""
    loaded = floq.load_run(chunks.directory)
    np.testing.assert_array_equal(
        loaded.actor().act(OBSERVATIONS[0]), chunks.actor().act(OBSERVATIONS[0])
    )


@pytest.mark.slow
def test_without_data_the_units_are_the_environments(tmp_path):
    """A pendulum's torques, from -2 to 2, whether its actions were rescaled for training or not."""
    for kwargs in ({}, {"rescale_actions": [-1.0, 1.0]}):
        trained = floq.train(
            small(floq.FQLConfig),
            None,
            directory=tmp_path / f"run{len(kwargs)}",
            env=EnvironmentSpec("Pendulum-v1", kwargs),
            steps=0,
            online=floq.Online(steps=8, buffer="online"),
            reward_range=(-17.0, 0.0),
            schedule=floq.Schedule(evaluation_episodes=1),
            processes=0,
            progress=False,
        )
        run = floq.load_run(trained.directory)
        assert run.config.action_bounds == ((-2.0,), (2.0,))
        unit = np.clip(run.policy(OBSERVATIONS[0], keys(0, 0, 0, 4)), -1, 1)
        np.testing.assert_allclose(run.actor().act(OBSERVATIONS[0]), 2 * unit, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "low", "high"),
    [
        ({}, -2.0, 2.0),
        ({"rescale_actions": [-1.0, 1.0]}, -2.0, 2.0),
        ({"action_low": -1.0, "action_high": 0.5}, -1.0, 0.5),
    ],
)
def test_an_environment_says_what_its_own_units_are(kwargs, low, high):
    """Below any rescaling; narrower bounds are the environment's too."""
    checked = preflight(EnvironmentSpec("Pendulum-v1", kwargs), is_related=True, in_worker=False)
    assert checked.bounds == ((low,), (high,))


def test_data_that_says_nothing_has_the_units_of_its_environment(run):
    """Actions that were scaled to [-1, 1] become torques again; without either they stay."""
    spec = EnvironmentSpec("Pendulum-v1", {"rescale_actions": [-1.0, 1.0]})
    config = run.config._replace(environment=spec)
    assert config.action_bounds is None
    low, high = floq.Run(run.directory, config, run.step, run.state).action_bounds
    assert (low, high) == ((-2.0,), (2.0,))
    assert run.action_bounds == ((-1.0, -1.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (np.zeros(2), r"shape \(2,\): give \[3\], or a batch, \[batch, 3\]"),
        (np.zeros((1, 1, 3)), r"shape \(1, 1, 3\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        ([0.0, np.nan, 0.0], "is not finite"),
        (np.zeros(3, complex), "no array of numbers: it is of type ndarray, dtype complex128"),
        ({"state": np.zeros(3)}, "no array of numbers: it is of type dict"),
        (np.zeros((2, 3)), r"2 observations are given, in an episode that began with 1.*reset"),
    ],
)
def test_a_wrong_observation_is_named(run, observation, words):
    """And nothing is lost: the episode goes on."""
    actor, other = run.actor(), run.actor()
    for one in (actor, other):
        one.act(OBSERVATIONS[0, 0])
    with pytest.raises(ValueError, match=words):
        actor.act(observation)
    np.testing.assert_array_equal(actor.act(OBSERVATIONS[1, 0]), other.act(OBSERVATIONS[1, 0]))
