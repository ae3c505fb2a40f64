"""Online data on the device: a ring of what environments gave, sampled inside compiled loops."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Real

from floq.data.dataset import Dataset
from floq.data.experience import Experience, Rows, depths_of, valid_starts
from floq.observations import ObservationForm
from floq.types import Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ReplayBuffer:
    """The last states that some environments went through, with every observation stored once.

    Each environment has a ring of its own. Its states have numbers in the order of their visits;
    state n lies in row n modulo the ring's length, and the state after it in the next row. An
    episode's last state has a row too, from which no transition starts. `starts` lists the states
    from which one does, oldest first, so that all of them are drawn alike, whatever lies between.

    Transitions are those of `Dataset.with_decisions`: their action is `chunk` actions in sequence,
    their reward the discounted sum over `lookahead` steps up to a terminal one. A state is listed
    once its lookahead is complete or has met a true end, and never if its episode is cut before.

    A buffer is a pytree of fixed shapes: what fills it compiles nothing.

    Attributes:
        observations: The states.
        actions: The actions at them.
        rewards: The rewards of the actions.
        masks: 1 - terminated.
        starts: Numbers of the states from which a transition starts.
        heads: Number of the state in which each environment is now.
        ages: Steps since its episode began, `lookahead` if more.
        listed: How many starts were ever listed; the next one goes to that row of `starts`.
        dropped: How many of them are gone, since their rows were taken by new states.
        lowest: The least reward of any transition ever listed, infinity before the first.
        highest: The greatest.
        chunk: Actions in sequence that a transition's action holds.
        lookahead: Steps from a transition's observation to its next one.
        discount: γ of a single step.
        form: What the bytes of an observation are; None of vectors.
        depths: Steps of its episode before each state, as many as frames matter, where
            observations stack frames.
    """

    observations: Real[Array, "*seeds envs rows obs"]
    actions: Float[Array, "*seeds envs rows act"]
    rewards: Float[Array, "*seeds envs rows"]
    masks: Float[Array, "*seeds envs rows"]
    starts: Int[Array, "*seeds envs rows"]
    heads: Int[Array, "*seeds envs"]
    ages: Int[Array, "*seeds envs"]
    listed: Int[Array, "*seeds envs"]
    dropped: Int[Array, "*seeds envs"]
    lowest: Float[Array, "*seeds envs"]
    highest: Float[Array, "*seeds envs"]
    chunk: int = dataclasses.field(default=1, metadata={"static": True})
    lookahead: int = dataclasses.field(default=1, metadata={"static": True})
    discount: float = dataclasses.field(default=0.99, metadata={"static": True})
    form: ObservationForm | None = dataclasses.field(default=None, metadata={"static": True})
    depths: Int[Array, "*seeds envs rows"] | None = None

    @classmethod
    def create(
        cls,
        observations: np.ndarray,
        action_dim: int,
        *,
        rows: int,
        action_chunk: int = 1,
        n_step: int = 1,
        discount: float,
        form: ObservationForm | None = None,
    ) -> "ReplayBuffer":
        """An empty buffer for environments that have just begun an episode.

        Args:
            observations: What they see, [envs, obs].
            action_dim: Entries of an action of the environment.
            rows: States that are kept of each environment.
            action_chunk: Steps that one decision lasts.
            n_step: Decisions over which the rewards are summed.
            discount: γ of a single step.
            form: What the bytes of an observation are, and how many frames a policy reads.

        Raises:
            ValueError: If a number is out of its range.
        """
        lookahead = action_chunk * n_step
        if min(action_chunk, n_step) < 1 or rows < lookahead + 3:
            raise ValueError(
                f"a replay buffer of {rows} states an environment for decisions of {action_chunk} "
                f"steps with {n_step}-step targets: give numbers of 1 or more, and a capacity of "
                f"at least {lookahead + 3} states an environment."
            )
        nothing = Rows.empty(observations, action_dim)
        return cls.restore(
            [nothing] * len(observations),
            observations,
            heads=np.zeros(len(observations), np.int32),
            listed=np.zeros(len(observations), np.int32),
            lowest=np.full(len(observations), np.inf, np.float32),
            highest=np.full(len(observations), -np.inf, np.float32),
            rows=rows,
            chunk=action_chunk,
            lookahead=lookahead,
            discount=discount,
            form=form,
        )

    @classmethod
    def restore(
        cls,
        histories: Sequence[Rows],
        observations: np.ndarray,
        *,
        heads: np.ndarray,
        listed: np.ndarray,
        lowest: np.ndarray,
        highest: np.ndarray,
        rows: int,
        chunk: int,
        lookahead: int,
        discount: float,
        form: ObservationForm | None = None,
    ) -> "ReplayBuffer":
        """The buffer that had taken in the given history, to the bit where anything is read.

        Args:
            histories: Of each environment the states before its present one. Of these the last
                `rows` - 1 matter, or all if there were never as many.
            observations: The present states, [envs, obs].
            heads: As the buffer had it.
            listed: As the buffer had it.
            lowest: As the buffer had it.
            highest: As the buffer had it.
            rows: States that are kept of each environment.
            chunk: As the buffer had it.
            lookahead: As the buffer had it.
            discount: As the buffer had it.
            form: As the buffer had it.
        """
        envs, action_dim = len(histories), histories[0].actions.shape[1]
        ring = Rows(
            np.zeros((envs, rows, observations.shape[1]), observations.dtype),
            np.zeros((envs, rows, action_dim), np.float32),
            np.zeros((envs, rows), np.float32),
            np.ones((envs, rows), np.float32),
            np.zeros((envs, 0), np.bool_),
        )
        starts = np.zeros((envs, rows), np.int32)
        ages, dropped = np.zeros(envs, np.int32), np.array(listed, np.int32)
        depths, before = np.zeros((envs, rows), np.int32), _frames_before(form)
        for env, (history, head) in enumerate(zip(histories, heads.tolist(), strict=True)):
            recent = Rows(*(field[max(len(field) - rows + 1, 0) :] for field in history))
            numbers = head - len(recent.rewards) + np.arange(len(recent.rewards))
            for field, values in zip(ring[:4], recent[:4], strict=True):
                field[env, numbers % rows] = values
            ring.observations[env, head % rows] = observations[env]
            valid = numbers[valid_starts(recent.masks, recent.lasts, chunk, lookahead)]
            valid = valid[valid >= _oldest(head, rows, before)]
            places = np.append(numbers, head)
            depths[env, places % rows] = depths_of(recent.lasts, bool(places[0] == 0), before)
            dropped[env] -= len(valid)
            starts[env, (dropped[env] + np.arange(len(valid))) % rows] = valid
            ends = np.flatnonzero(recent.lasts)
            begun = ends[-1] + 1 if ends.size else 0
            ages[env] = min(len(numbers) - begun, lookahead)
        arrays = (*ring[:4], starts, heads, ages, listed, dropped, lowest, highest)
        return cls(
            *(jnp.array(array) for array in arrays),
            chunk=chunk,
            lookahead=lookahead,
            discount=discount,
            form=form,
            depths=jnp.array(depths) if before else None,
        )

    @property
    def rows(self) -> int:
        """States that are kept of each environment."""
        return self.rewards.shape[-1]

    @property
    def sizes(self) -> Int[Array, "*seeds envs"]:
        """Transitions of each environment that can be drawn."""
        return self.listed - self.dropped

    @property
    def nbytes(self) -> int:
        """Memory on the device, in bytes."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self))

    def add(self, experience: Experience) -> "ReplayBuffer":
        """The buffer after one more step of every environment.

        Pass the buffer into a compiled function that may overwrite it (`donate_argnums`): then a
        step costs the same whatever the buffer's size.
        """
        envs = jnp.arange(len(self.heads))
        terminated = jnp.asarray(experience.terminated)
        ended = terminated | experience.truncated
        row = self.heads % self.rows
        # Outside of the ring, which drops it, where no new episode begins.
        fresh = jnp.where(ended, (self.heads + 2) % self.rows, self.rows)
        observations = (
            self.observations.at[envs, (self.heads + 1) % self.rows]
            .set(experience.next_observations)
            .at[envs, fresh]
            .set(experience.first_observations, mode="drop")
        )
        depths = self.depths
        if depths is not None:
            deeper = jnp.minimum(depths[envs, row] + 1, _frames_before(self.form))
            depths = depths.at[envs, (self.heads + 1) % self.rows].set(deeper)
            depths = depths.at[envs, fresh].set(0, mode="drop")
        ages = jnp.minimum(self.ages + 1, self.lookahead)
        stepped = dataclasses.replace(
            self,
            observations=observations,
            actions=self.actions.at[envs, row].set(experience.actions),
            rewards=self.rewards.at[envs, row].set(experience.rewards),
            masks=self.masks.at[envs, row].set(1 - terminated.astype(jnp.float32)),
            heads=self.heads + 1 + ended,
            ages=jnp.where(ended, 0, ages),
            depths=depths,
        )
        return stepped._list(self.heads, ages, terminated)._forget()

    def _list(
        self, last: Int[Array, " envs"], ages: Int[Array, " envs"], terminated: Bool[Array, " envs"]
    ) -> "ReplayBuffer":
        """Lists the states whose lookahead was completed by the action at state `last`."""
        envs = jnp.arange(len(last))[:, None]
        # A true end completes all that were waiting, but those without a whole chunk of actions.
        at_end = jnp.maximum(ages - self.chunk + 1, 0)
        counts = jnp.where(terminated, at_end, ages == self.lookahead)
        places = jnp.arange(self.lookahead - self.chunk + 1)
        new = (last + 1 - ages)[:, None] + places
        is_new = places < counts[:, None]
        rewards, _ = jax.vmap(self._window)(envs + 0 * new, new)
        slots = jnp.where(is_new, (self.listed[:, None] + places) % self.rows, self.rows)
        return dataclasses.replace(
            self,
            starts=self.starts.at[envs, slots].set(new, mode="drop"),
            listed=self.listed + counts,
            lowest=jnp.minimum(self.lowest, jnp.where(is_new, rewards, jnp.inf).min(axis=1)),
            highest=jnp.maximum(self.highest, jnp.where(is_new, rewards, -jnp.inf).max(axis=1)),
        )

    def _forget(self) -> "ReplayBuffer":
        """Drops the starts whose rows were taken: a step takes two at most."""
        envs = jnp.arange(len(self.heads))
        oldest = _oldest(self.heads, self.rows, _frames_before(self.form))
        dropped = self.dropped
        for _ in range(2):
            gone = self.starts[envs, dropped % self.rows] < oldest
            dropped += gone & (dropped < self.listed)
        return dataclasses.replace(self, dropped=dropped)

    def _window(
        self, envs: Int[Array, " batch"], states: Int[Array, " batch"]
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Reward and mask of the transitions from the given states."""
        steps = (states[:, None] + jnp.arange(self.lookahead)) % self.rows
        going_on = jnp.cumprod(self.masks[envs[:, None], steps], axis=1)
        # A reward counts if no step before its own was terminal.
        counts = jnp.concatenate([jnp.ones_like(going_on[:, :1]), going_on[:, :-1]], axis=1)
        weights = jnp.asarray(self.discount ** np.arange(self.lookahead), jnp.float32)
        rewards = jnp.sum(weights * counts * self.rewards[envs[:, None], steps], axis=1)
        return rewards, going_on[:, -1]

    def take(self, positions: Int[Array, " batch"]) -> Batch:
        """The transitions at `positions`, each in [0, sum of `sizes`).

        Next actions are those of the transition that starts where this one ends, as
        `Dataset.take` has them.
        """
        ends = jnp.cumsum(self.sizes)
        envs = jnp.searchsorted(ends, positions, side="right")
        order = positions - (ends - self.sizes)[envs]
        states = self.starts[envs, (self.dropped[envs] + order) % self.rows]
        rewards, masks = self._window(envs, states)
        # Within an episode the starts before another start are as many as the states.
        later = self.dropped[envs] + order + self.lookahead
        next_starts = self.starts[envs, later % self.rows]
        is_next = (next_starts == states + self.lookahead) & (later < self.listed[envs])
        next_actions = self._decision(envs, next_starts)
        return Batch(
            observations=self._observed(envs, states),
            actions=self._decision(envs, states),
            rewards=rewards,
            masks=masks,
            # Where the lookahead met a true end this is another state, which a mask of 0 hides.
            next_observations=self._observed(envs, states + self.lookahead),
            next_actions=jnp.where(is_next[:, None], next_actions, 0),
            next_action_masks=is_next.astype(jnp.float32),
        )

    def _observed(self, envs: Int[Array, " batch"], states: Int[Array, " batch"]) -> Array:
        """What is seen in each of the states: its observation, after those of frames before."""
        if self.depths is None:
            return self.observations[envs, states % self.rows]
        before = jnp.arange(_frames_before(self.form) + 1)[::-1]
        before = jnp.minimum(before, self.depths[envs, states % self.rows][:, None])
        places = (states[:, None] - before) % self.rows
        return self.observations[envs[:, None], places].reshape(len(states), -1)

    def _decision(
        self, envs: Int[Array, " batch"], states: Int[Array, " batch"]
    ) -> Float[Array, "batch act"]:
        """The actions in sequence of a decision at each of the states."""
        steps = (states[:, None] + jnp.arange(self.chunk)) % self.rows
        return self.actions[envs[:, None], steps].reshape(len(states), -1)

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn uniformly with replacement; there must be one."""
        return self.take(jax.random.randint(key, (batch_size,), 0, jnp.sum(self.sizes)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Offline and online data, drawn together.

    Attributes:
        dataset: The offline data; None draws online data only.
        buffer: The online data, with the same kind of transitions; it must hold one.
        online_share: The online data's share of a batch. None draws uniformly from the union of
            both, as if the online transitions had been appended to the offline ones.
    """

    dataset: Dataset | None
    buffer: ReplayBuffer
    online_share: float | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def form(self) -> ObservationForm | None:
        """What the bytes of an observation are; None of vectors."""
        return self.buffer.form

    def sample(self, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        """`batch_size` transitions, drawn with replacement."""
        if self.dataset is None:
            return self.buffer.sample(batch_size, key=key)
        if self.online_share is None:
            return self._sample_union(self.dataset, batch_size, key=key)
        online = round(self.online_share * batch_size)
        offline_key, online_key = jax.random.split(key)
        parts = (
            self.dataset.sample(batch_size - online, key=offline_key),
            self.buffer.sample(online, key=online_key),
        )
        return jax.tree.map(lambda *fields: jnp.concatenate(fields), *parts)

    def _sample_union(self, dataset: Dataset, batch_size: int, *, key: Key[Array, ""]) -> Batch:
        total = dataset.size + jnp.sum(self.buffer.sizes)
        positions = jax.random.randint(key, (batch_size,), 0, total)
        offline = dataset.take(jnp.minimum(positions, dataset.size - 1))
        online = self.buffer.take(jnp.maximum(positions - dataset.size, 0))
        is_offline = positions < dataset.size

        def choose(one: Array, other: Array) -> Array:
            return jnp.where(is_offline.reshape(-1, *[1] * (one.ndim - 1)), one, other)

        return jax.tree.map(choose, offline, online)


def _frames_before(form: ObservationForm | None) -> int:
    """Frames that an observation holds beside its own."""
    return 0 if form is None else form.frames - 1


def _oldest(heads: Any, rows: int, frames_before: int) -> Any:
    """The oldest state that can be drawn: the frames before it are in the ring too."""
    return heads - rows + 1 + frames_before
