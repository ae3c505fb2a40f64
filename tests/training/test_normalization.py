"""Normalised observations: as if data and environment had been normalised by hand."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shifted_pendulum
from same_runs import assert_close, assert_same_run
from shifted_pendulum import DEVIATION, MEAN, OBSERVATIONS

import floq
from floq.algorithms import find_algorithm
from floq.algorithms.normalization import normalized, reading_raw
from floq.export import Trained, export_policy
from floq.inspection.probe import critic_of
from floq.observations import Normalization
from floq.presets.changes import small
from floq.presets.methods import preset
from floq.training import Schedule, finetune, load_run, resume, train
from floq.types import Statistics


@jax.jit
def values_of(critic, observations, actions, noise):
    return critic.values(observations, actions, noise)


def data(observations):
    generator = np.random.default_rng(1)
    return floq.Dataset.from_trajectories(
        observations,
        generator.uniform(-2, 2, (40, 1)),
        generator.uniform(-16, 0, 40),
        np.ones(40),
        np.arange(40) % 20 == 19,
        layout="states",
        action_low=-2,
        action_high=2,
    )


def config(algorithm="floq"):
    return dataclasses.replace(small(preset(algorithm), width=8, depth=1), batch_size=8)


def trained(directory, *, by_hand=False, steps=6, **options):
    schedule = Schedule(log_interval=2, evaluation_interval=6, evaluation_episodes=2)
    return train(
        options.pop("config", config()),
        data((OBSERVATIONS - MEAN) / DEVIATION if by_hand else OBSERVATIONS),
        env=shifted_pendulum.normal if by_hand else shifted_pendulum.raw,
        steps=steps,
        directory=directory,
        schedule=schedule,
        normalize_observations=not by_hand,
        reward_range=(-17, 0),
        processes=0,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run that normalises, and one on data and environment that were normalised by hand."""
    folder = tmp_path_factory.mktemp("pair")
    options = {"config": config("fql")}
    return trained(folder / "ours", **options), trained(folder / "hand", by_hand=True, **options)


def test_a_constant_entry_keeps_its_scale():
    """Mean and deviation are the data's, and the deviation of a constant is 1."""
    found = Normalization.of([OBSERVATIONS])
    np.testing.assert_allclose(found.mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(found.deviation, DEVIATION, rtol=1e-5)
    assert found.deviation[3] == 1
    of_rounding = OBSERVATIONS + np.array([0, 0, 0, 1e-6], np.float32) * OBSERVATIONS[:, :1]
    assert Normalization.of([of_rounding]).deviation[3] == 1


def test_rows_may_come_some_at_a_time():
    """Mean and deviation are numpy's to a last place of float32, beside means that are large."""
    generator = np.random.default_rng(0)
    rows = generator.normal([0, 10_000, -3], [1e-3, 0.1, 50], (1_000, 3)).astype(np.float32)
    found = Normalization.of(np.split(rows, [1, 300, 301, 990]))
    due = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    for one, other in zip(found, due, strict=True):
        np.testing.assert_array_max_ulp(np.float32(one), other.astype(np.float32), maxulp=1)


def test_a_run_equals_one_on_data_normalised_by_hand(pair):
    """Networks, metrics and evaluations are the same, up to rounding."""
    assert_same_run(*pair, 1e-5)


def test_it_is_off_by_default(tmp_path):
    """The rule is then the algorithm itself, and the config says that nothing is normalised."""
    own = small(preset("bc"), width=8, depth=1)
    run = train(own, data(OBSERVATIONS), steps=1, directory=tmp_path / "run", progress=False)
    assert run.algorithm is find_algorithm("bc")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["normalization"] is None


def test_whoever_calls_the_policy_gives_raw_observations(pair):
    """Policy, actor and the critic of an inspection read what the environment shows."""
    ours, theirs = pair
    raw, normal = map(jnp.array, (OBSERVATIONS, (OBSERVATIONS - MEAN) / DEVIATION))
    keys = jax.random.split(jax.random.key(0), len(raw))
    assert_close(ours.policy(raw, keys), theirs.policy(normal, keys))
    assert_close(ours.actor().act(raw), theirs.actor().act(normal))
    noise, actions = jnp.full((40, 3), -50.0), jnp.zeros((40, 1))
    assert_close(
        values_of(critic_of(ours, 0), raw, actions, noise),
        values_of(critic_of(theirs, 0), normal, actions, noise),
        1e-4,
    )


@pytest.mark.parametrize("algorithm", ["floq", "fql", "fql-iqn", "fql-categorical", "iql"])
def test_every_critic_reads_raw_observations(algorithm):
    """As the critic that was trained reads normalised ones, K steps of a flow and all."""
    rule, normalization = find_algorithm(algorithm.split("-")[0]), Normalization.of([OBSERVATIONS])
    own, sizes = config(algorithm), Statistics(4, 1, -1.0, 0.0)
    state = jax.jit(lambda key: rule.init(own, sizes, key=key))(jax.random.key(0))
    critic = state.parameters.critic
    raw = reading_raw(critic, normalization)
    actions, observations = jnp.linspace(-1, 1, 40)[:, None], jnp.array(OBSERVATIONS)
    noise = critic.sample_noise((40, 2), key=jax.random.key(1))
    values = values_of(critic, normalization(observations), actions, noise)
    assert np.ptp(values) > 0
    assert_close(values_of(raw, observations, actions, noise), values)
    assert reading_raw({"a network": "of one's own"}, normalization) is None


def test_a_resumed_run_equals_the_uncut_one(tmp_path):
    """To the bit, and it goes on normalising by what the run notes."""
    whole = trained(tmp_path / "whole", config=config("bc"))
    trained(tmp_path / "cut", steps=4, config=config("bc"))
    cut = resume(tmp_path / "cut", dataset=data(OBSERVATIONS), steps=6, processes=0)
    for left, right in zip(jax.tree.leaves(whole.state), jax.tree.leaves(cut.state), strict=True):
        np.testing.assert_array_equal(left, right)
    assert load_run(tmp_path / "cut").config.normalization == Normalization.of([OBSERVATIONS])


@pytest.mark.slow
def test_fine_tuning_keeps_it(pair, tmp_path):
    """Online transitions and acting are normalised by the offline data's mean and deviation."""
    ours, theirs = (
        finetune(
            run,
            dataset=dataset,
            online=floq.Online(steps=12, updates_per_step=0.5),
            directory=tmp_path / str(number),
            processes=0,
            progress=False,
        )
        for number, (run, dataset) in enumerate(
            zip(pair, (data(OBSERVATIONS), data((OBSERVATIONS - MEAN) / DEVIATION)), strict=True)
        )
    )
    assert ours.config.normalization == pair[0].config.normalization
    assert_close(ours.state.parameters, theirs.state.parameters, 1e-4)


@pytest.mark.parametrize(
    ("format", "candidates"),
    [("jax", 0), ("numpy", 0), pytest.param("numpy", 3, marks=pytest.mark.slow)],
)
def test_an_exported_policy_normalises(format, candidates, tmp_path):
    """Its program reads raw observations as another's normalised ones, as the record says."""
    own, sizes = dataclasses.replace(config(), candidates=candidates), Statistics(4, 1, -1.0, 0.0)
    algorithm, found = find_algorithm("floq"), Normalization.of([OBSERVATIONS])
    facts = {"run": {}, "figures": {}, "versions": {}}
    policies = []
    for normalization in (found, None):
        rule = algorithm if normalization is None else normalized(algorithm, normalization)
        state = rule.init(own, sizes, key=jax.random.key(0))
        trained = Trained(*(rule, "floq", own, state, sizes, (-2.0,), (2.0,), facts), normalization)
        folder = tmp_path / str(len(policies))
        policies.append(floq.load_policy(export_policy(trained, folder, format=format)))
    ours, theirs = policies
    random = np.random.default_rng(0)
    noise = [random.normal(size=(40, *one["shape"])).astype("f") for one in ours.record["noise"]]
    normal = found(OBSERVATIONS)
    assert_close(ours.program(OBSERVATIONS, *noise), theirs.program(normal, *noise))
    seen = ours.record["observations"]
    np.testing.assert_allclose(seen["normalization"]["deviation"], DEVIATION, rtol=1e-5)
    assert "subtracts the mean" in seen["units"]
    assert theirs.record["observations"]["normalization"] is None


def test_it_needs_data(tmp_path):
    """Mean and deviation of nothing are refused before a folder is made."""
    with pytest.raises(ValueError, match="normalize_observations is set and dataset is None"):
        train(
            config(),
            None,
            env="Pendulum-v1",
            steps=0,
            online=floq.Online(steps=8, buffer="online"),
            reward_range=(-17, 0),
            normalize_observations=True,
            directory=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
