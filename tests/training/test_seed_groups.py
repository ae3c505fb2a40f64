import jax
import numpy as np
import pytest
import tiny_algorithm as tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from many_devices import SMALL_FLOQ

from floq.algorithms import floq
from floq.runs.states import initial_states, states_template
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups
from tests.draws import draws

DATASET = tiny.make_dataset()
CASES = [
    pytest.param(tiny, tiny.Config(), id="tiny"),
    pytest.param(floq, SMALL_FLOQ, id="floq", marks=pytest.mark.slow),
]


def make_groups(algorithm, config, seeds):
    state = initial_states(algorithm, config, DATASET.statistics, seeds)
    return SeedGroups(Learner.of(algorithm, config), seeds, state, DATASET)


def advance(groups, *stops, first=0):
    for last in stops:
        groups.advance(first, last)
        first = last
    return groups


def leaf_bytes(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def to_bytes(groups):
    return leaf_bytes((groups.state, groups.metric_sums()))


@pytest.mark.parametrize(("algorithm", "config"), CASES)
def test_dispatches_do_not_change_a_bit(algorithm, config):
    """20 updates in one dispatch, one by one, or in uneven parts end in the same bits."""
    results = [
        to_bytes(advance(make_groups(algorithm, config, (0,)), *stops))
        for stops in ([20], range(1, 21), [3, 4, 17, 20])
    ]
    assert results[0] == results[1] == results[2]


@pytest.fixture(scope="module")
def twenty_single_steps():
    """The bits after each of 20 updates in calls of their own."""
    groups, bits = make_groups(tiny, tiny.Config(), (0,)), []
    for step in range(20):
        bits.append(to_bytes(advance(groups, step + 1, first=step)))
    return bits


@settings(max_examples=draws(10, 50))
@given(stops=st.sets(st.integers(1, 20), min_size=1))
def test_the_scan_is_single_steps_wherever_it_is_cut(stops, twenty_single_steps):
    """After any sequence of dispatches the bits are those of as many updates one by one."""
    stops = sorted(stops)
    groups = advance(make_groups(tiny, tiny.Config(), (0,)), *stops)
    assert to_bytes(groups) == twenty_single_steps[stops[-1] - 1]


@pytest.mark.parametrize(("algorithm", "config"), CASES)
def test_a_seed_beside_others_is_the_seed_alone(algorithm, config):
    """On a CPU, a seed's state and metrics do not depend, by a bit, on the seeds beside it."""
    together = advance(make_groups(algorithm, config, (4, 0, 2)), 5, 12)
    alone = advance(make_groups(algorithm, config, (0,)), 5, 12)
    own = jax.tree.map(lambda leaf: leaf[1:2], together.state)
    assert leaf_bytes(own) == leaf_bytes(alone.state)
    sums = together.metric_sums(), alone.metric_sums()
    assert {name: values[1] for name, values in sums[0].items()} == {
        name: values[0] for name, values in sums[1].items()
    }
    weights = jax.tree.leaves(together.state)[0]
    assert not np.array_equal(weights[0], weights[1])


def test_one_update_is_the_algorithms_update():
    """The program adds nothing: an update by hand, with the documented keys, gives the same."""
    config = tiny.Config()
    groups = make_groups(tiny, config, (3,))
    init_key, updates_key = jax.random.split(jax.random.key(3))
    state = tiny.init(config, DATASET.statistics, key=init_key)
    np.testing.assert_array_equal(groups.state.weights[0], state.weights)
    for step in range(2):
        batch_key, update_key = jax.random.split(jax.random.fold_in(updates_key, step))
        batch = DATASET.sample(config.batch_size, key=batch_key)
        state, _ = tiny.update(config, state, batch, key=update_key)
    after = advance(groups, 2).state
    np.testing.assert_allclose(after.weights[0], state.weights, rtol=1e-6)
    assert after.step.tolist() == [2]


def test_dispatches_of_any_length_are_compiled_once():
    """Nothing is compiled after the first dispatch, whatever the lengths of the later ones."""
    # Settings of no other test, whose program would be there.
    groups = advance(make_groups(tiny, tiny.Config(noise=0.2), (0, 1)), 1)
    groups.block()
    compilations = []

    def count(event, duration, **_):
        if "backend_compile" in event:
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        advance(groups, 2, 30, 31, 500, first=1).block()
        assert compilations == []
        jax.jit(lambda value: value * 3.25 + 1)(1.5)
        assert compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


def test_template_describes_the_initial_state():
    """The template that checkpoints are checked against has the state's names, shapes, dtypes."""
    template = states_template(tiny, tiny.Config(), DATASET.statistics, (0, 1))
    state = initial_states(tiny, tiny.Config(), DATASET.statistics, (0, 1))
    assert jax.tree.structure(template) == jax.tree.structure(state)
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), template)
    actual = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)
    assert described == actual
