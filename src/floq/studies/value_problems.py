"""Problems whose values are known: families of finite MDPs, solved by linear algebra.

They are the ground of the value benchmark (`floq.studies.value_benchmark`). Every problem's
values span [−`VALUE_RANGE`, 0], whatever its horizon, so that problems differ in difficulty and not
in scale.
"""

import dataclasses
import itertools
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from floq.data.dataset import Dataset
from floq.types import Statistics

VALUE_RANGE = 10.0
"""The values of a problem lie between minus this and 0, in units of return."""

_MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
"""The actions of both families: a step along an axis, which is also their vector in [−1, 1]²."""

_SLIP_REACH = 3
_WAVES = 32
_EPISODE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class MDP:
    """A finite decision process with a policy, whose values follow exactly.

    Attributes:
        observations: What the critic sees of each state, [states, obs].
        actions: The vector of each action within [−1, 1], [actions, act].
        following: Probability of the next state, [states, actions, states].
        rewards: Expected reward, [states, actions].
        terminal: Whether entering a state ends the episode, [states].
        valid: States that data starts from and that errors count; never terminal ones, [states].
        policy: The probability of each action under the policy to evaluate, [states, actions].
        discount: γ of a single step.
    """

    observations: np.ndarray
    actions: np.ndarray
    following: np.ndarray
    rewards: np.ndarray
    terminal: np.ndarray
    valid: np.ndarray
    policy: np.ndarray
    discount: float

    def values(self, chunk: int = 1) -> np.ndarray:
        """Q of the policy, exactly, [states, actions ** chunk].

        With V = r_π + P_π V over decisions, Q(s, c) = r(s, c) + Σ P(s′ | s, c) V(s′), where the
        discount and the end of episodes are part of P.

        Args:
            chunk: Steps that a decision lasts. Column c is the sequence of actions in place c of
                `sequences`; the policy draws a sequence by drawing each of its actions from
                π(· | s) of the state s where the decision is made.
        """
        alive = self.discount * self.following * ~self.terminal
        states = len(self.rewards)
        rewards, following, chosen = [], [], []
        for sequence in self.sequences(chunk):
            reached, total, chance = np.eye(states), np.zeros(states), np.ones(states)
            for action in sequence:
                total = total + reached @ self.rewards[:, action]
                reached = reached @ alive[:, action]
                chance = chance * self.policy[:, action]
            rewards.append(total)
            following.append(reached)
            chosen.append(chance)
        of_policy = np.einsum("cs,cst->st", chosen, following)
        rewards_of_policy = np.einsum("cs,cs->s", chosen, rewards)
        state_values = np.linalg.solve(np.eye(states) - of_policy, rewards_of_policy)
        return (np.array(rewards) + np.array(following) @ state_values).T

    def estimated(self, data: "Data") -> "MDP":
        """The MDP as a table filled from data has it: what is seen, as often as it is seen.

        A pair that was never seen may lead anywhere. Its values are what no critic can be expected
        to be far nearer to the truth than, unless it generalises well from one state to another.
        """
        counts = np.zeros(self.following.shape)
        inside = np.arange(len(data.states)) % (_EPISODE + 1) < _EPISODE
        rows = (np.asarray(part)[inside] for part in (data.states, data.chosen, data.reached))
        np.add.at(counts, tuple(rows), 1)
        seen = counts.sum(axis=-1, keepdims=True)
        following = np.where(seen, counts / np.maximum(seen, 1), 1 / len(self.terminal))
        return dataclasses.replace(self, following=following)

    def sequences(self, chunk: int) -> list[tuple[int, ...]]:
        """Every sequence of `chunk` actions, in the order of the columns of `values`."""
        return list(itertools.product(range(len(self.actions)), repeat=chunk))


@runtime_checkable
class Problem(Protocol):
    """A family of MDPs: a frozen dataclass of knobs, from which each seed draws its own MDP."""

    @property
    def discount(self) -> float:
        """γ of a single step."""
        ...

    @property
    def transitions(self) -> int:
        """Transitions of the data."""
        ...

    def sample(self, random: np.random.Generator) -> MDP:
        """An MDP of this family. All that one problem gives have arrays of the same shapes."""
        ...


@dataclasses.dataclass(frozen=True)
class Waves:
    """A torus whose values are random waves, as fast as one likes, at any horizon.

    The values are chosen first: Q(s, a) = Σ_j cos(2π k_j·x(s) + φ_j + ψ_j·a), brought to
    [−`VALUE_RANGE`, 0], with whole wave vectors k_j up to `roughness`. The rewards that make them
    the policy's values follow from Bellman's equation, r = Q − γ P Q. The observation holds the
    slowest waves of x alone, cos and sin of 2π x, mixed by a random rotation.

    Attributes:
        discount: γ.
        stochasticity: Chance that a step ends at random within three cells of where it should.
        roughness: Periods of the fastest wave from one side of the torus to the other.
        policy_noise: Chance that the policy acts at random; else it takes the action of largest Q.
        side: Cells along each of the two axes.
        observation_dim: Entries of an observation, 5 or more.
        transitions: Transitions of the data, a multiple of 64.
    """

    discount: float = 0.95
    stochasticity: float = 0.1
    roughness: int = 2
    policy_noise: float = 0.0
    side: int = 16
    observation_dim: int = 8
    transitions: int = 32_768

    def __post_init__(self) -> None:
        """Refuses knobs out of their range."""
        _check(self)
        if not 1 <= self.roughness <= self.side // 4:
            raise ValueError(
                f"roughness is {self.roughness} and side is {self.side}: give 1 or more, and at "
                "least four cells for each period."
            )

    def sample(self, random: np.random.Generator) -> MDP:
        """A torus with waves of its own."""
        cells = _cells(self.side)
        angles = 2 * np.pi * cells / self.side
        vectors = random.integers(-self.roughness, self.roughness + 1, (_WAVES, 2))
        phases = random.uniform(0, 2 * np.pi, _WAVES)
        shifts = random.normal(size=(_WAVES, 2))
        arguments = (angles @ vectors.T)[:, None] + phases + (_MOVES @ shifts.T)[None]
        waves = np.cos(arguments).sum(axis=-1)
        values = VALUE_RANGE * (waves - waves.max()) / np.ptp(waves)
        reached = (cells[:, None] + _MOVES) % self.side
        following = _slipping(
            _index(reached, self.side), _neighbours(self.side, torus=True), self.stochasticity
        )
        policy = _noisy(np.argmax(values, axis=1), self.policy_noise)
        state_values = np.sum(policy * values, axis=1)
        features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return MDP(
            observations=_embedded(features, self.observation_dim, random),
            actions=_MOVES.astype(np.float64),
            following=following,
            rewards=values - self.discount * following @ state_values,
            terminal=np.zeros(len(cells), bool),
            valid=np.ones(len(cells), bool),
            policy=policy,
            discount=self.discount,
        )


@dataclasses.dataclass(frozen=True)
class Maze:
    """A walk to a goal among random walls: the values of OGBench's mazes, in small.

    Each step costs the same until the goal is reached, so that Q falls with the distance to the
    goal and jumps across walls. The observation holds the position (and its squares and product),
    mixed by a random rotation.

    Attributes:
        discount: γ.
        stochasticity: Chance that a step ends at random within three cells of where it should.
        walls: Share of the cells that are walls: how rough Q is in the observation.
        policy_noise: Chance that the policy acts at random; else it takes a shortest way.
        side: Cells along each of the two axes.
        observation_dim: Entries of an observation, 5 or more.
        transitions: Transitions of the data, a multiple of 64.
    """

    discount: float = 0.95
    stochasticity: float = 0.1
    walls: float = 0.1
    policy_noise: float = 0.0
    side: int = 16
    observation_dim: int = 8
    transitions: int = 32_768

    def __post_init__(self) -> None:
        """Refuses knobs out of their range."""
        _check(self)
        if not 0 <= self.walls <= 0.35:
            raise ValueError(
                f"walls is {self.walls}: give a share from 0 to 0.35; beyond it, mazes fall apart."
            )

    def sample(self, random: np.random.Generator) -> MDP:
        """A maze with walls of its own, most of whose cells lead to the goal."""
        cells = _cells(self.side)
        while True:
            walls = random.random(len(cells)) < self.walls
            goal = int(random.choice(np.flatnonzero(~walls)))
            moved = cells[:, None] + _MOVES
            outside = ((moved < 0) | (moved >= self.side)).any(axis=-1)
            reached = _index(np.clip(moved, 0, self.side - 1), self.side)
            blocked = outside | walls[reached]
            reached = np.where(blocked, np.arange(len(cells))[:, None], reached)
            distances = _distances(reached, goal)
            connected = np.isfinite(distances) & ~walls
            if connected.sum() >= 0.8 * (~walls).sum():
                break
        # A slip never leads into a wall, nor to where no way leads to the goal.
        near = _neighbours(self.side, torus=False) * connected
        near[near.sum(axis=1) == 0] = np.eye(len(cells))[near.sum(axis=1) == 0]
        terminal = np.arange(len(cells)) == goal
        places = 2 * cells / (self.side - 1) - 1
        features = np.concatenate([places, places**2 - 0.5, places[:, :1] * places[:, 1:]], axis=1)
        return MDP(
            observations=_embedded(features, self.observation_dim, random),
            actions=_MOVES.astype(np.float64),
            following=_slipping(reached, near, self.stochasticity),
            rewards=np.full(reached.shape, -VALUE_RANGE * (1 - self.discount)),
            terminal=terminal,
            valid=connected & ~terminal,
            policy=_noisy(np.argmin(distances[reached], axis=1), self.policy_noise),
            discount=self.discount,
        )


def statistics(observation_dim: int, action_dim: int, discount: float) -> Statistics:
    """What every critic is told of a problem: sizes, and rewards that give the range of the values.

    Args:
        observation_dim: Entries of an observation.
        action_dim: Entries of an action, or of a chunk of actions.
        discount: γ from one transition's observation to the next.
    """
    return Statistics(observation_dim, action_dim, -VALUE_RANGE * (1 - discount), 0.0)


class Data(NamedTuple):
    """A fixed dataset, with the state behind each of its rows.

    Attributes:
        dataset: The transitions.
        states: The state of each row, [rows].
        chosen: The action of each row, [rows].
        reached: The state that it led to, which is not the next row's where an episode ended.
    """

    dataset: Dataset
    states: Int[Array, " rows"]
    chosen: np.ndarray
    reached: np.ndarray


def collect(
    mdp: MDP,
    transitions: int,
    random: np.random.Generator,
    *,
    action_chunk: int = 1,
    n_step: int = 1,
) -> Data:
    """Transitions of episodes of 64 steps from random states, acting at random.

    An episode that ends early starts anew from a random state within the same 64 steps, so that
    every dataset of a problem has the same shapes.

    Args:
        mdp: The MDP.
        transitions: Steps to take, a multiple of 64.
        random: Where to draw from.
        action_chunk: Steps that one decision lasts; see `Dataset.with_decisions`.
        n_step: Decisions over which rewards are summed.
    """
    episodes = transitions // _EPISODE
    starts = np.flatnonzero(mdp.valid)
    cumulative = np.cumsum(mdp.following, axis=-1)
    states = np.zeros((episodes, _EPISODE + 1), int)
    actions = random.integers(0, len(mdp.actions), (episodes, _EPISODE + 1))
    reached = np.zeros((episodes, _EPISODE + 1), int)
    states[:, 0] = random.choice(starts, episodes)
    for step in range(_EPISODE):
        now = states[:, step], actions[:, step]
        draws = random.uniform(size=(episodes, 1)) * cumulative[now][:, -1:]
        reached[:, step] = np.sum(cumulative[now] <= draws, axis=1)
        ended = mdp.terminal[reached[:, step]]
        states[:, step + 1] = np.where(ended, random.choice(starts, episodes), reached[:, step])
    ends = np.zeros((episodes, _EPISODE + 1))
    ends[:, -1] = 1
    rows, taken = states.ravel(), actions.ravel()
    dataset = Dataset.from_trajectories(
        mdp.observations[rows],
        mdp.actions[taken],
        mdp.rewards[rows, taken],
        ~mdp.terminal[reached.ravel()],
        ends.ravel(),
        layout="states",
        source="value problem",
    )
    dataset = dataset.with_decisions(
        action_chunk=action_chunk, n_step=n_step, discount=mdp.discount
    )
    # A terminal step would let some starts beyond these count too: how many, differs by seed.
    starts_at = np.asarray(dataset.transitions) % (_EPISODE + 1)
    kept = dataset.transitions[starts_at <= _EPISODE - dataset.lookahead]
    dataset = dataclasses.replace(dataset, transitions=kept)
    return Data(dataset, jnp.asarray(rows, jnp.int32), taken, reached.ravel())


def _check(problem: Waves | Maze) -> None:
    if not 0 <= problem.discount < 1:
        raise ValueError(f"discount is {problem.discount}: give a number in [0, 1).")
    for name in ("stochasticity", "policy_noise"):
        if not 0 <= getattr(problem, name) <= 1:
            raise ValueError(f"{name} is {getattr(problem, name)}: give a share from 0 to 1.")
    if problem.side < 4:
        raise ValueError(f"side is {problem.side}: give 4 cells or more.")
    if problem.observation_dim < 5:
        raise ValueError(f"observation_dim is {problem.observation_dim}: give 5 or more.")
    if problem.transitions < _EPISODE or problem.transitions % _EPISODE:
        raise ValueError(
            f"transitions is {problem.transitions}: give a multiple of {_EPISODE}, the length of "
            "an episode."
        )


def _cells(side: int) -> np.ndarray:
    """The two coordinates of every cell, [states, 2]."""
    return np.stack(np.meshgrid(range(side), range(side), indexing="ij"), -1).reshape(-1, 2)


def _index(cells: np.ndarray, side: int) -> np.ndarray:
    return cells[..., 0] * side + cells[..., 1]


def _neighbours(side: int, *, torus: bool) -> np.ndarray:
    """1 for cells at most `_SLIP_REACH` apart along both axes, else 0, [states, states]."""
    apart = np.abs(_cells(side)[:, None] - _cells(side))
    if torus:
        apart = np.minimum(apart, side - apart)
    return (apart.max(axis=-1) <= _SLIP_REACH).astype(float)


def _slipping(reached: np.ndarray, near: np.ndarray, chance: float) -> np.ndarray:
    """Next-state probabilities: `reached`, or with some chance any cell near it."""
    return (1 - chance) * np.eye(len(near))[reached] + chance * (
        near / near.sum(axis=1, keepdims=True)
    )[reached]


def _noisy(choices: np.ndarray, chance: float) -> np.ndarray:
    """Action probabilities: `choices`, or with some chance any action, [states, actions]."""
    return (1 - chance) * np.eye(len(_MOVES))[choices] + chance / len(_MOVES)


def _distances(reached: np.ndarray, goal: int) -> np.ndarray:
    """Steps from each state to the goal, infinite where no way leads there, [states]."""
    distances = np.full(len(reached), np.inf)
    distances[goal] = 0
    for _ in range(len(reached)):
        improved = np.minimum(distances, 1 + distances[reached].min(axis=1))
        if np.array_equal(improved, distances):
            break
        distances = improved
    return distances


def _embedded(features: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Features in a random rotation of a larger space, [states, size]; entries of size about 1."""
    basis, _ = np.linalg.qr(random.normal(size=(size, features.shape[1])))
    mixed = features @ basis.T
    return mixed * np.sqrt(1 / np.mean(np.square(mixed)))
