import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from floq.data.dataset import Dataset
from floq.data.experience import Experience, Rows
from floq.data.replay import Mixture, ReplayBuffer

GAMMA = 0.5
OBS, ACT = 2, 1


@jax.jit
def add(buffer, experience):
    return buffer.add(experience)


@jax.jit
def take_all(buffer):
    """Everything, padded to the most that there can be."""
    return buffer.take(jnp.arange(buffer.rewards.size) % jnp.sum(buffer.sizes))


take = jax.jit(lambda source, positions: source.take(positions))
sample = jax.jit(lambda source, size, key: source.sample(size, key=key), static_argnums=1)


class Model:
    """What the buffer should hold, as plain lists: one list of states per environment.

    A state is [number, observation, action, reward, mask, is_last]; the present one has no action.
    """

    def __init__(self, observations, rows, chunk, lookahead):
        self.histories = [[[0, o, None, 0.0, 1.0, False]] for o in observations]
        self.rows, self.chunk, self.lookahead = rows, chunk, lookahead

    def add(self, experience):
        for env, history in enumerate(self.histories):
            terminated, ended = (
                experience.terminated[env],
                experience.terminated[env] or experience.truncated[env],
            )
            history[-1][2:5] = (
                experience.actions[env],
                float(experience.rewards[env]),
                0.0 if terminated else 1.0,
            )
            number = history[-1][0]
            history.append([number + 1, experience.next_observations[env], None, 0.0, 1.0, ended])
            if ended:
                first = experience.first_observations[env]
                history.append([number + 2, first, None, 0.0, 1.0, False])

    def transitions(self):
        """Every transition (s, a…, r, mask, s′, a′) that can be drawn, in order.

        s′ is None at true ends, a′ where no transition starts at s′.
        """
        found = []
        for history in self.histories:
            for start, state in enumerate(history):
                if state[0] <= history[-1][0] - self.rows or state[5]:
                    continue
                window = self.window(history[start:])
                if window is not None:
                    following = history[start + self.lookahead :]
                    goes_on = window[2] == 1.0 and not following[0][5]
                    after = self.window(following) if goes_on else None
                    found.append((state[1], *window, None if after is None else after[0]))
        return found

    def window(self, states):
        """Steps through the lookahead: None where it is cut, not yet over or lacks actions."""
        actions, reward = [], 0.0
        for step in range(self.lookahead):
            if states[step][2] is None:
                return None
            actions.append(states[step][2])
            reward += GAMMA**step * states[step][3]
            if states[step][4] == 0.0:
                if len(actions) < self.chunk:
                    return None
                return actions[: self.chunk], reward, 0.0, None
        return actions[: self.chunk], reward, 1.0, states[self.lookahead][1]


def make_experience(counter, envs, terminated, truncated):
    """Numbers that tell where each entry came from."""
    base = np.arange(envs, dtype=np.float32)
    return Experience(
        actions=(0.001 * counter + 0.1 * base)[:, None].astype(np.float32),
        rewards=(counter + 0.25 * base).astype(np.float32),
        terminated=np.array(terminated),
        truncated=np.array(truncated),
        next_observations=np.stack([counter + 0.5 * base, base], axis=1).astype(np.float32),
        first_observations=np.stack([-counter - 0.5 * base, base], axis=1).astype(np.float32),
    )


def fill(buffer, ends):
    """The buffer and the model after steps that end as `ends` say: [steps][envs] of "", t or c."""
    model = Model(
        np.asarray(buffer.observations[:, 0]), buffer.rows, buffer.chunk, buffer.lookahead
    )
    for counter, row in enumerate(ends, start=1):
        terminated, truncated = [["t" in e for e in row], ["c" in e for e in row]]
        experience = make_experience(counter, len(row), terminated, truncated)
        buffer = add(buffer, experience)
        model.add(experience)
    return buffer, model


def empty(envs=1, rows=8, chunk=1, n_step=1):
    observations = np.stack([np.zeros(envs), np.arange(envs)], axis=1).astype(np.float32)
    return ReplayBuffer.create(
        observations, ACT, rows=rows, action_chunk=chunk, n_step=n_step, discount=GAMMA
    )


def assert_holds(buffer, model):
    """Every transition of the model can be drawn, in order, and nothing else."""
    expected = model.transitions()
    assert int(jnp.sum(buffer.sizes)) == len(expected)
    if not expected:
        return
    batch = jax.tree.map(np.asarray, take_all(buffer))
    for place, (state, actions, reward, mask, following, after) in enumerate(expected):
        np.testing.assert_array_equal(batch.observations[place], state)
        np.testing.assert_array_equal(batch.actions[place], np.concatenate(actions))
        assert batch.rewards[place] == pytest.approx(reward, rel=1e-6)
        assert batch.masks[place] == mask
        assert batch.next_action_masks[place] == (after is not None)
        next_actions = 0 * np.concatenate(actions) if after is None else np.concatenate(after)
        np.testing.assert_array_equal(batch.next_actions[place], next_actions)
        if following is not None:
            np.testing.assert_array_equal(batch.next_observations[place], following)


ENDS = st.sampled_from(["", "", "", "", "t", "c", "tc"])
SHAPES = {(1, 1): (1, 6), (1, 3): (2, 7), (2, 1): (1, 8), (2, 2): (2, 9)}


@pytest.mark.parametrize(("chunk", "n_step"), SHAPES)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_buffer_holds_what_plain_lists_hold(chunk, n_step, data):
    """Whatever ends when, before and after the ring wraps, and after it is restored."""
    envs, rows = SHAPES[chunk, n_step]
    steps = st.lists(st.lists(ENDS, min_size=envs, max_size=envs), max_size=25)
    buffer, model = fill(empty(envs, rows, chunk, n_step), data.draw(steps))
    assert_holds(buffer, model)
    restored = restore(buffer, model)
    assert_same_where_it_is_read(restored, buffer)
    # And it goes on as if it had never been away.
    more = make_experience(77, envs, [False] * envs, [True] * envs)
    model.add(more)
    assert_holds(add(restored, more), model)


def restore(buffer, model):
    """The buffer from what a checkpoint keeps of it."""
    histories = []
    for history in model.histories:
        left = history[:-1]
        histories.append(
            Rows(
                np.array([s[1] for s in left], np.float32).reshape(-1, OBS),
                np.array([[0.0] if s[2] is None else s[2] for s in left], np.float32).reshape(
                    -1, ACT
                ),
                np.array([s[3] for s in left], np.float32),
                np.array([s[4] for s in left], np.float32),
                np.array([s[5] for s in left], np.bool_),
            )
        )
    return ReplayBuffer.restore(
        histories,
        np.array([history[-1][1] for history in model.histories], np.float32),
        **{
            name: np.asarray(getattr(buffer, name))
            for name in ("heads", "listed", "lowest", "highest")
        },
        rows=buffer.rows,
        chunk=buffer.chunk,
        lookahead=buffer.lookahead,
        discount=buffer.discount,
    )


def assert_same_where_it_is_read(one, other):
    for name in ("heads", "ages", "listed", "dropped", "lowest", "highest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    if int(jnp.sum(one.sizes)):
        for left, right in zip(take_all(one), take_all(other), strict=True):
            assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_a_truncated_steps_next_observation_is_the_true_last_one():
    """A cut has mask 1 and the observation before the reset; a true end has mask 0."""
    buffer, _ = fill(empty(), [[""], ["c"], [""], ["t"]])
    batch = take(buffer, jnp.arange(4))
    np.testing.assert_array_equal(batch.observations[:, 0], [0, 1, -2, 3])
    np.testing.assert_array_equal(batch.next_observations[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(batch.masks, [1, 1, 1, 0])


def test_every_transition_is_drawn_equally_often():
    """Over environments that hold different numbers of transitions, after the ring has wrapped."""
    ends = [["", ""] if step % 3 else ["c", ""] for step in range(40)]
    buffer, model = fill(empty(envs=2, rows=9), ends)
    count = len(model.transitions())
    assert buffer.sizes.tolist() == [6, 8]
    batch = sample(buffer, 20_000, jax.random.key(0))
    _, counts = np.unique(batch.rewards, return_counts=True)
    assert len(counts) == count == 14
    expected = 20_000 / count
    assert np.sum((counts - expected) ** 2 / expected) < 34.5  # 0.1 % of chi-squared, 13 degrees


def test_the_range_of_rewards_is_that_of_every_transition():
    """Also of transitions that are overwritten, and none of windows that are not complete."""
    buffer, _ = fill(empty(n_step=2, rows=5), [[""], [""], [""], [""], ["c"], [""]])
    assert (float(buffer.lowest[0]), float(buffer.highest[0])) == (1 + 0.5 * 2, 4 + 0.5 * 5)
    assert np.isinf(empty().lowest[0])


@pytest.mark.filterwarnings("ignore:.*leaves out")
def test_windows_are_those_of_a_dataset():
    """The same trajectories as a dataset with action chunks give the same transitions."""
    ends = [[""], [""], [""], ["c"], [""], [""], ["t"], [""], ["c"]]
    buffer, model = fill(empty(rows=32, chunk=2), ends)
    states = model.histories[0][:-1]
    dataset = Dataset.from_trajectories(
        np.array([s[1] for s in states]),
        np.array([[0.0] if s[2] is None else s[2] for s in states]),
        np.array([s[3] for s in states]),
        np.array([s[4] for s in states]),
        np.array([s[5] for s in states], np.float32),
    ).with_decisions(action_chunk=2, discount=GAMMA)
    assert dataset.size == int(jnp.sum(buffer.sizes)) == 6
    ours, theirs = take(buffer, jnp.arange(6)), take(dataset, jnp.arange(6))
    alive = np.asarray(ours.masks) == 1
    for name in (
        "observations",
        "actions",
        "rewards",
        "masks",
        "next_actions",
        "next_action_masks",
    ):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)
    np.testing.assert_array_equal(ours.next_observations[alive], theirs.next_observations[alive])


def make_offline(size):
    """Transitions with rewards from 1,000 on."""
    rows = np.zeros((size, OBS), np.float32)
    return Dataset.from_transitions(rows, rows[:, :1], 1_000 + np.arange(size), np.ones(size), rows)


@pytest.mark.parametrize(("share", "expected"), [(None, 10 / 40), (0.5, 0.5), (0.25, 0.25)])
def test_mixtures_draw_the_share_that_they_say(share, expected):
    """Merged draws uniformly from the union of 30 and 10; the others keep their ratio exactly."""
    buffer, _ = fill(empty(rows=16), [[""]] * 10)
    batch = sample(Mixture(make_offline(30), buffer, share), 4_000, jax.random.key(1))
    rewards, counts = np.unique(batch.rewards, return_counts=True)
    online = counts[rewards < 1_000].sum() / 4_000
    if share is None:
        assert len(rewards) == 40
        assert online == pytest.approx(expected, abs=0.025)
        assert counts.min() > 60
    else:
        assert online == expected


def test_online_only_needs_no_dataset():
    """Without offline data every transition is one of the buffer's."""
    buffer, _ = fill(empty(rows=16), [[""]] * 10)
    batch = sample(Mixture(None, buffer), 500, jax.random.key(2))
    assert set(np.asarray(batch.rewards).tolist()) == set(range(1, 11))


def test_filling_and_wrapping_compiles_nothing():
    """Adding and sampling compile once, whatever the buffer holds."""
    traces = []

    @jax.jit
    def step(buffer, experience, key):
        traces.append(1)
        buffer = buffer.add(experience)
        return buffer, buffer.sample(4, key=key)

    buffer = empty(rows=6)
    for counter in range(20):
        end = counter % 4 == 3
        experience = make_experience(counter, 1, [end], [False])
        buffer, _ = step(buffer, experience, jax.random.key(counter))
    assert len(traces) == 1


def test_a_buffer_that_is_too_small_is_refused():
    """A window must fit, with its ends."""
    with pytest.raises(ValueError, match="at least 9 states an environment"):
        empty(rows=8, chunk=2, n_step=3)


def test_the_memory_is_that_of_its_rows():
    """Observations once: 4 · (obs + act + 3) bytes a state, and some numbers an environment."""
    buffer = empty(envs=2, rows=100)
    assert buffer.nbytes == 2 * (100 * 4 * (OBS + ACT + 3) + 6 * 4)
