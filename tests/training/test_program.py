import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_algorithm as tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from many_devices import SMALL_FLOQ

from floq.algorithms import floq
from floq.runs.states import initial_states, states_template
from floq.training.program import Program, sums_of

DATASET = tiny.make_dataset()
CASES = [
    pytest.param(tiny, tiny.Config(), id="tiny"),
    pytest.param(floq, SMALL_FLOQ, id="floq", marks=pytest.mark.slow),
]


def make_program(algorithm, config, seeds, log_interval=7):
    program = Program(algorithm, config, DATASET, seeds, log_interval=log_interval)
    state = initial_states(algorithm, config, DATASET.statistics, seeds)
    return program, program.place(program.start(state))


def advance(program, carries, *stops):
    first = 0
    for last in stops:
        carries = program.advance(carries, first, last)
        first = last
    return carries


def to_bytes(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize(("algorithm", "config"), CASES)
def test_dispatches_do_not_change_a_bit(algorithm, config):
    """20 updates in one dispatch, one by one, or in uneven parts end in the same bits."""
    program, carries = make_program(algorithm, config, (0,))
    results = []
    for stops in ([20], range(1, 21), [3, 4, 17, 20]):
        copy = jax.tree.map(jnp.copy, carries)
        results.append(to_bytes(advance(program, copy, *stops)))
    assert results[0] == results[1] == results[2]


@pytest.fixture(scope="module")
def twenty_single_steps():
    """A program, its start, and its bits after each of 20 updates in calls of their own."""
    program, start = make_program(tiny, tiny.Config(), (0,))
    carries, bits = jax.tree.map(jnp.copy, start), []
    for step in range(20):
        carries = program.advance(carries, step, step + 1)
        bits.append(to_bytes(carries))
    return program, start, bits


@settings(max_examples=50)
@given(stops=st.sets(st.integers(1, 20), min_size=1))
def test_the_scan_is_single_steps_wherever_it_is_cut(stops, twenty_single_steps):
    """After any sequence of dispatches the bits are those of as many updates one by one."""
    program, start, bits = twenty_single_steps
    stops = sorted(stops)
    carries = advance(program, jax.tree.map(jnp.copy, start), *stops)
    assert to_bytes(carries) == bits[stops[-1] - 1]


@pytest.mark.parametrize(("algorithm", "config"), CASES)
def test_a_seed_beside_others_is_the_seed_alone(algorithm, config):
    """On a CPU, a seed's state and metrics do not depend, by a bit, on the seeds beside it."""
    together = advance(*make_program(algorithm, config, (4, 0, 2)), 12)
    alone = advance(*make_program(algorithm, config, (0,)), 12)
    assert to_bytes(alone[0]) == to_bytes(together[1])
    weights = jax.tree.leaves(together[0].state)[0], jax.tree.leaves(together[1].state)[0]
    assert not np.array_equal(*weights)


def test_one_update_is_the_algorithms_update():
    """The program adds nothing: an update by hand, with the documented keys, gives the same."""
    config = tiny.Config()
    program, carries = make_program(tiny, config, (3,))
    init_key, updates_key = jax.random.split(jax.random.key(3))
    state = tiny.init(config, DATASET.statistics, key=init_key)
    np.testing.assert_array_equal(program.state(carries).weights[0], state.weights)
    for step in range(2):
        batch_key, update_key = jax.random.split(jax.random.fold_in(updates_key, step))
        batch = DATASET.sample(config.batch_size, key=batch_key)
        state, _ = tiny.update(config, state, batch, key=update_key)
    after = program.state(program.advance(carries, 0, 2))
    np.testing.assert_allclose(after.weights[0], state.weights, rtol=1e-6)
    assert after.step.tolist() == [2]


def test_sums_start_anew_after_each_multiple_of_the_log_interval():
    """At step 7 they sum updates 1 to 7, at step 9 updates 8 and 9."""
    program, carries = make_program(tiny, tiny.Config(), (0,))
    losses = []
    for step in range(9):
        before = float(sums_of(carries)["loss"][0]) if step % 7 else 0.0
        carries = program.advance(carries, step, step + 1)
        losses.append(float(sums_of(carries)["loss"][0]) - before)
        if step == 6:
            assert float(sums_of(carries)["loss"][0]) == pytest.approx(sum(losses), rel=1e-5)
    assert float(sums_of(carries)["loss"][0]) == pytest.approx(sum(losses[7:]), rel=1e-5)
    assert min(losses) > 0


def test_dispatches_of_any_length_are_compiled_once():
    """Nothing is compiled after the first dispatch, whatever the lengths of the later ones."""
    program, carries = make_program(tiny, tiny.Config(), (0, 1))
    carries = program.advance(carries, 0, 1)
    compilations = []

    def count(event, duration, **_):
        if "backend_compile" in event:
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        advance(program, carries, 1, 2, 30, 31, 500)
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
