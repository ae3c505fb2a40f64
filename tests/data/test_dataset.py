import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floq.data.dataset import Dataset
from floq.data.memory import ACTION_LIMIT
from floq.types import Statistics
from tests.data.taken import all_of, sample, take
from tests.draws import draws


def assert_batches_equal(batch, **expected):
    for field, values in expected.items():
        np.testing.assert_array_equal(getattr(batch, field), values, err_msg=field)


def test_trajectories_by_hand():
    """Each row but a trajectory's last one is a transition to the row after it."""
    dataset = Dataset.from_trajectories(
        observations=np.array([[0.0], [1.0], [2.0], [10.0], [11.0]]),
        actions=np.array([[0.1], [0.2], [0.9], [0.3], [0.9]]),
        rewards=np.array([-1, -2, -90, -3, -90]),
        masks=np.array([1, 0, 1, 1, 1]),
        terminals=np.array([0, 0, 1, 0, 1]),
    )
    assert dataset.size == 3
    assert_batches_equal(
        all_of(dataset),
        observations=[[0], [1], [10]],
        actions=np.float32([[0.1], [0.2], [0.3]]),
        rewards=[-1, -2, -3],
        masks=[1, 0, 1],
        next_observations=[[1], [2], [11]],
    )
    assert dataset.statistics == Statistics(1, 1, -3.0, -1.0)


def test_it_prints_as_a_line(trajectories):
    """Numbers and sizes, where a compiled function is traced too; no array."""
    dataset = Dataset.from_trajectories(**trajectories)
    said = "observations: [3], actions: [2]>"
    assert repr(dataset) == f"<Dataset: transitions: 8, trajectories: 3, {said}"
    seen = []
    jax.jit(lambda data: seen.append(repr(data)))(dataset)
    assert seen == [repr(dataset)]
    with pytest.warns(UserWarning, match="leaves out 3 of 8"):
        decided = dataset.with_decisions(action_chunk=2, discount=0.9)
    assert repr(decided) == f"<Dataset: transitions: 5, {said}"
    images = trajectories | {"observations": np.zeros((11, 4, 5, 3), np.uint8)}
    assert "observations: an image [4, 5, 3]" in repr(Dataset.from_trajectories(**images))
    ones = np.ones((1, 1))
    single = Dataset.from_transitions(ones, ones, ones[0], ones[0], ones + 1)
    said = "transitions: 1, trajectories: 1, observations: [1], actions: [1]"
    assert repr(single) == f"<Dataset: {said}>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (jnp.shape, "observations=(11, 3), actions=(11, 2)"),
        (lambda values: values.dtype, "rewards=dtype('float32')"),
        (lambda values: 0, "rewards=0"),
        (lambda values: None, "rewards=None"),
        (lambda values: jnp.stack([values, values]), "chunk=1"),
    ],
)
def test_trees_that_are_made_of_it_print(trajectories, monkeypatch, change, said):
    """What has its fields, and no arrays of one dataset in them, shows these."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # As outside of tests.
    shown = repr(jax.tree.map(change, Dataset.from_trajectories(**trajectories)))
    assert shown.startswith("Dataset(observations=")
    assert said in shown


def test_memory_is_that_of_one_copy(trajectories):
    """Observations are stored once: 4 bytes a number of each row, and 4 a transition."""
    dataset = Dataset.from_trajectories(**trajectories)
    assert dataset.nbytes == 4 * (11 * (3 + 2 + 1 + 1) + 8)


def test_actions_are_clipped(trajectories):
    """Actions at the ends of their range come out just inside it, others unchanged."""
    trajectories["actions"][0] = [1.0, -1.00005]
    actions = all_of(Dataset.from_trajectories(**trajectories)).actions
    np.testing.assert_array_equal(actions[0], np.float32([ACTION_LIMIT, -ACTION_LIMIT]))
    np.testing.assert_array_equal(actions[1], trajectories["actions"][1])
    assert np.abs(actions).max() < 1


def test_the_caller_keeps_the_arrays(trajectories):
    """Changing an array after it was handed over does not change the dataset, nor the reverse."""
    trajectories["actions"][0] = 1.0
    before = {field: values.copy() for field, values in trajectories.items()}
    dataset = Dataset.from_trajectories(**trajectories)
    np.testing.assert_array_equal(trajectories["actions"], before["actions"])
    trajectories["observations"][:] = 0
    np.testing.assert_array_equal(dataset.observations, before["observations"])


def test_data_without_transitions_is_refused(trajectories):
    """Terminals at every row leave no transition, which is said."""
    trajectories["terminals"][:] = True
    with pytest.raises(ValueError, match="terminals are 1 at every row"):
        Dataset.from_trajectories(**trajectories)


def test_faults_name_the_source(trajectories):
    """Both constructors check their data under the name that the caller gives it."""
    trajectories["rewards"][2] = np.nan
    with pytest.raises(ValueError, match=r"^my robot: rewards must be finite.*row 2"):
        Dataset.from_trajectories(**trajectories, source="my robot")
    trajectories["next_observations"] = trajectories["observations"]
    trajectories["ends"] = trajectories.pop("terminals")
    with pytest.raises(ValueError, match=r"^from_transitions: rewards must be finite.*row 2"):
        Dataset.from_transitions(**trajectories)


def chain(breaks: list[bool], *, seed: int) -> dict[str, np.ndarray]:
    """Transitions whose next observation is the following observation except after `breaks`."""
    generator = np.random.default_rng(seed)
    size = len(breaks)
    observations = generator.normal(size=(size, 2)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    jumps = np.array(breaks) | (np.arange(size) == size - 1)
    following[jumps] = generator.normal(size=(jumps.sum(), 2))
    return {
        "observations": observations,
        "actions": generator.uniform(-0.9, 0.9, size=(size, 1)).astype(np.float32),
        "rewards": generator.normal(size=size).astype(np.float32),
        "masks": generator.integers(0, 2, size=size).astype(np.float32),
        "next_observations": following,
    }


@settings(max_examples=draws(10, 40))
@given(
    breaks=st.lists(st.booleans(), min_size=1, max_size=12),
    ends=st.none() | st.lists(st.booleans(), min_size=12, max_size=12),
    seed=st.integers(0, 1000),
)
def test_transitions_come_back_exactly(breaks, ends, seed):
    """Whatever the order of the transitions and the ends, they are stored as they were given."""
    transitions = chain(breaks, seed=seed)
    flags = None if ends is None else np.array(ends[: len(breaks)])
    dataset = Dataset.from_transitions(**transitions, ends=flags)
    assert_batches_equal(all_of(dataset), **transitions)
    jumps = np.array(breaks) if flags is None else np.array(breaks) | flags
    trajectories = 1 + int(jumps[:-1].sum())
    assert len(dataset.observations) == len(breaks) + trajectories


def test_transitions_equal_the_trajectories_they_came_from(trajectories):
    """The same data gives the same dataset in either layout."""
    whole = Dataset.from_trajectories(**trajectories)
    batch = all_of(whole)._replace(next_actions=None, next_action_masks=None)
    given = {field: values for field, values in batch._asdict().items() if values is not None}
    again = Dataset.from_transitions(**given)
    for field in ("observations", "transitions"):
        np.testing.assert_array_equal(getattr(again, field), getattr(whole, field))
    assert_batches_equal(all_of(again), **all_of(whole)._asdict())


def test_a_repeated_state_does_not_join_trajectories():
    """Where `ends` marks an end, the next trajectory's first state is not taken for its last."""
    transitions = chain([False, False, False], seed=0)
    dataset = Dataset.from_transitions(**transitions, ends=[0, 1, 0])
    np.testing.assert_array_equal(dataset.transitions, [0, 1, 3])


def test_sampling_is_uniform_over_transitions():
    """Rows that end a trajectory are never drawn, and every other row equally often."""
    terminals = np.array([0, 0, 1, 0, 1, 0, 0, 0, 1])
    dataset = Dataset.from_trajectories(
        observations=np.arange(9.0)[:, None],
        actions=np.zeros((9, 1)),
        rewards=np.zeros(9),
        masks=np.ones(9),
        terminals=terminals,
    )
    batch = sample(dataset, 60_000, jax.random.key(0))
    np.testing.assert_array_equal(batch.next_observations, np.asarray(batch.observations) + 1)
    counts = np.bincount(np.asarray(batch.observations, dtype=int)[:, 0], minlength=9)
    assert (counts[terminals == 1] == 0).all()
    # Ten thousand are expected of each; five standard deviations are 456.
    assert np.abs(counts[terminals == 0] - 10_000).max() < 456


def test_sampling_inside_a_compiled_loop(trajectories):
    """A loop compiled over the dataset draws what the same calls draw one by one."""
    dataset = Dataset.from_trajectories(**trajectories)

    @jax.jit
    def total(data, key):
        def add(i, value):
            batch = data.sample(4, key=jax.random.fold_in(key, i))
            return value + batch.rewards.sum() + batch.next_observations.sum()

        return jax.lax.fori_loop(0, 5, add, 0.0)

    key = jax.random.key(3)
    batches = [sample(dataset, 4, jax.random.fold_in(key, i)) for i in range(5)]
    expected = sum(np.sum(b.rewards) + np.sum(b.next_observations) for b in batches)
    np.testing.assert_allclose(total(dataset, key), expected, rtol=1e-5)


def test_another_dataset_of_the_same_shape_needs_no_compilation(trajectories):
    """A dataset is an argument of a compiled function and not a part of it."""
    compiled = jax.jit(lambda data, key: data.sample(2, key=key))
    for factor in (1, 2):
        data = Dataset.from_trajectories(
            **trajectories | {"rewards": trajectories["rewards"] * factor}
        )
        compiled(data, jax.random.key(0))
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("field", ["observations", "actions", "rewards", "masks"])
def test_fingerprint_sees_every_value(trajectories, field):
    """Equal data has equal fingerprints, and one changed number another one."""
    trajectories["layout"] = "states"
    first = Dataset.from_trajectories(**trajectories).fingerprint()
    assert Dataset.from_trajectories(**trajectories).fingerprint() == first
    changed = trajectories[field].copy()
    changed.flat[-1] = 1 - changed.flat[-1] if field == "masks" else changed.flat[-1] / 2
    assert Dataset.from_trajectories(**trajectories | {field: changed}).fingerprint() != first


def test_fingerprint_sees_where_trajectories_end(trajectories):
    """The same rows cut into other trajectories have another fingerprint."""
    trajectories["layout"] = "states"
    first = Dataset.from_trajectories(**trajectories).fingerprint()
    trajectories["terminals"] = np.roll(trajectories["terminals"], 1)
    trajectories["terminals"][10] = True
    assert Dataset.from_trajectories(**trajectories).fingerprint() != first


@pytest.fixture
def two_trajectories():
    """Rows 0 to 3 and 4 to 7; the second step of the first and the last of the second end."""
    return Dataset.from_trajectories(
        np.arange(8, dtype=np.float32)[:, None],
        np.linspace(-0.7, 0.7, 8, dtype=np.float32)[:, None],
        np.array([1, 2, 3, 0, 4, 5, 6, 0], np.float32),
        np.array([1, 0, 1, 1, 1, 1, 0, 1], np.float32),
        np.array([0, 0, 0, 1, 0, 0, 0, 1], np.float32),
    )


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_action_chunks_are_the_transitions_of_several_steps(two_trajectories):
    """Two-step chunks by hand: actions in sequence, discounted rewards up to a terminal step."""
    chunked = two_trajectories.with_decisions(action_chunk=2, discount=0.5)
    # Rows 2 and 6 have one step left in their trajectories, 3 and 7 none.
    np.testing.assert_array_equal(chunked.transitions, [0, 1, 4, 5])
    batch = take(chunked, np.arange(4))
    np.testing.assert_array_equal(batch.observations[:, 0], [0, 1, 4, 5])
    np.testing.assert_array_equal(batch.next_observations[:, 0], [2, 3, 6, 7])
    np.testing.assert_allclose(batch.rewards, [1 + 0.5 * 2, 2, 4 + 0.5 * 5, 5 + 0.5 * 6])
    np.testing.assert_array_equal(batch.masks, [0, 0, 1, 0])
    np.testing.assert_allclose(batch.actions[2], two_trajectories.actions[4:6, 0])
    assert chunked.statistics.action_dim == 2
    with pytest.raises(ValueError, match="shorter action chunk"):
        two_trajectories.with_decisions(action_chunk=4, discount=0.5)


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_n_step_transitions_sum_rewards_under_one_action(two_trajectories):
    """Two-step targets by hand; the steps just before a true end stay, those before a cut go."""
    dataset = two_trajectories.with_decisions(n_step=2, discount=0.5)
    # Row 2 has one step left before its trajectory is cut off; row 6 has one left too, but ends.
    np.testing.assert_array_equal(dataset.transitions, [0, 1, 4, 5, 6])
    batch = take(dataset, np.arange(5))
    np.testing.assert_allclose(batch.rewards, [1 + 0.5 * 2, 2, 4 + 0.5 * 5, 5 + 0.5 * 6, 6])
    np.testing.assert_array_equal(batch.masks, [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(batch.next_observations[:4, 0], [2, 3, 6, 7])
    np.testing.assert_array_equal(batch.actions, two_trajectories.actions[dataset.transitions])


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_n_step_targets_of_chunks_look_ahead_by_both(two_trajectories):
    """One chunk of one step three decisions ahead, and a chunk whose lookahead is cut, by hand."""
    dataset = two_trajectories.with_decisions(action_chunk=1, n_step=3, discount=0.5)
    np.testing.assert_array_equal(dataset.transitions, [0, 1, 4, 5, 6])
    np.testing.assert_allclose(take(dataset, np.array([2])).rewards, [4 + 0.5 * 5 + 0.25 * 6])
    chunked = two_trajectories.with_decisions(action_chunk=2, n_step=2, discount=0.5)
    assert chunked.lookahead == 4
    # Every start that has two actions meets a true end within its four steps.
    np.testing.assert_array_equal(chunked.transitions, [0, 1, 4, 5])
    with pytest.raises(ValueError, match="once"):
        chunked.with_decisions(n_step=2, discount=0.5)


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_next_actions_are_those_of_the_transition_that_follows(two_trajectories):
    """By hand, and masked where a trajectory ends: what its last row holds is not one."""
    actions = np.asarray(two_trajectories.actions)
    batch = all_of(two_trajectories)
    np.testing.assert_array_equal(batch.next_action_masks, [1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(batch.next_actions[:2], actions[1:3])
    np.testing.assert_array_equal(batch.next_actions[3:5], actions[5:7])
    np.testing.assert_array_equal(batch.next_actions[5], 0)
    ahead = all_of(two_trajectories.with_decisions(n_step=2, discount=0.5))
    np.testing.assert_array_equal(ahead.next_action_masks, [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(ahead.next_actions[2], actions[6])
    chunked = two_trajectories.with_decisions(action_chunk=2, discount=0.5)
    np.testing.assert_array_equal(all_of(chunked).next_action_masks, 0)


def test_shuffled_transitions_have_no_next_actions():
    """Nothing says what followed: no row is taken for the next of another."""
    states = np.arange(4, dtype=np.float32)[:, None]
    dataset = Dataset.from_transitions(states, states / 4, states[:, 0], np.ones(4), states + 10)
    np.testing.assert_array_equal(all_of(dataset).next_action_masks, 0)
