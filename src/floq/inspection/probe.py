"""Looking into a trained critic: along a rollout, over a maze, and inside its flow."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floq.acting import BATCH, episode_seed
from floq.algorithms.common import data_chunk
from floq.algorithms.normalization import reading_raw
from floq.critics.flow import FlowCritic
from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Slots
from floq.recording import Recording
from floq.runs.run import Run
from floq.types import Critic, Policy

_SAMPLES = 16
"""Starts of the flow that a value is averaged over."""

_ACTIONS = 4
"""Actions of the policy that it is averaged over too: fewer, since each may be the best of many."""

_ROWS = 64
"""States of one call: enough to be quick, and one shape to compile for."""

_CELL_POINTS = 4
"""Points on each side of a maze's cell at which the value is looked up."""


def critic_of(run: Run, seed: int) -> Critic | None:
    """A seed's critic; None if its algorithm has none."""
    return _critic(run, seed, "critic")


def judge_of(run: Run, seed: int) -> Critic | None:
    """A seed's critic of what its policy plans: the distilled one where the other reads more."""
    config = run.config.config
    if data_chunk(config) > config.action_chunk:
        return _critic(run, seed, "distilled")
    return critic_of(run, seed)


def _critic(run: Run, seed: int, name: str) -> Critic | None:
    """A critic as it reads what data and environment have; None of one that nobody can make so."""
    found = getattr(getattr(run.state_of(seed), "parameters", None), name, None)
    normalization = run.config.normalization
    # Encoders normalise by themselves.
    if normalization is None or run.config.statistics.observations is not None:
        return found
    return reading_raw(found, normalization)


@jax.jit
def _values(
    critic: Critic, observations: jax.Array, actions: jax.Array, noise: jax.Array
) -> jax.Array:
    return critic.values(observations, actions, noise)


def decision_values(critic: Critic, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Q(s, a) of many decisions, averaged over the same noise for each.

    Args:
        critic: A critic of any kind.
        observations: States, [decisions, obs].
        actions: Actions, [decisions, act].

    Returns:
        The values, [decisions].
    """
    noise = critic.sample_noise((1, _SAMPLES), key=jax.random.key(0))
    noise = jnp.tile(noise, (_ROWS * _SAMPLES, 1))
    blocks = zip(
        _blocks(observations, _ROWS * _SAMPLES), _blocks(actions, _ROWS * _SAMPLES), strict=True
    )
    values = [np.asarray(_values(critic, *map(jnp.asarray, block), noise)) for block in blocks]
    return np.concatenate(values)[: len(observations)]


# Computed once a page, for a few states: optimising it would take longer than it saves.
@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def _trajectories(
    critic: FlowCritic, observations: jax.Array, actions: jax.Array, noise: jax.Array
) -> jax.Array:
    return critic.return_trajectories(observations, actions, noise)


def state_values(
    critic: Critic, policy: Policy, observations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """V(s) = Q(s, μ(s, ε)) averaged over ε, and the policy's actions behind it.

    Args:
        critic: The critic.
        policy: The policy μ; it may return action chunks.
        observations: States, [states, obs].

    Returns:
        The values, [states], and the actions, [states, actions, act].
    """
    key, noise_key = jax.random.split(jax.random.key(0))
    # The same draws in every state, so that states differ by their values alone.
    noise = jnp.tile(critic.sample_noise((1, _SAMPLES), key=noise_key), (_ROWS, 1))
    actions = _actions(policy, observations, key)
    each = np.repeat(actions, _SAMPLES // _ACTIONS, axis=1)
    flat = _blocks(each.reshape(len(each), -1), _ROWS).reshape(-1, _ROWS, *each.shape[1:])
    blocks = zip(_blocks(observations, _ROWS), flat, strict=True)
    # Types say arrays of jax; numpy's are given, and jax takes them without a copy on a CPU.
    values = [np.asarray(_values(critic, *block, noise)) for block in blocks]  # pyright: ignore
    return np.concatenate(values)[: len(observations)], actions


def _actions(
    policy: Policy, observations: np.ndarray, key: jax.Array, *, many: int = _ACTIONS
) -> np.ndarray:
    """The first of the policy's actions behind V(s), by the same draws in each state.

    In calls as an evaluation has them, whose program is compiled already.

    Returns:
        The actions, [states, many, act].
    """
    size, keys = getattr(policy, "rows", BATCH), jax.random.split(key, _ACTIONS)
    rows = np.repeat(observations, many, axis=0)
    found = []
    for first in range(0, len(rows), size):
        turns = np.arange(first, first + size)
        block = rows[np.minimum(turns, len(rows) - 1)]
        found.append(np.asarray(policy(block, keys[turns % many])))  # pyright: ignore
    return np.concatenate(found)[: len(rows)].reshape(len(observations), many, -1)


def _blocks(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, the last one repeated, as blocks of one size: [blocks, size, entries]."""
    padded = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % size, axis=0)])
    # What images are in stays bytes.
    dtype = rows.dtype if rows.dtype == np.uint8 else np.float32
    return padded.astype(dtype).reshape(-1, size, rows.shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class FlowView:
    """The flow's way from noise to value, for some states and actions.

    Attributes:
        labels: What to call them, [states].
        times: Times t of the points, [points].
        paths: The values z(t), [states, ensemble, points, starts].
        noise_interval: Where the starts lie.
    """

    labels: Sequence[str]
    times: np.ndarray
    paths: np.ndarray
    noise_interval: tuple[float, float]


def from_straight_lines(times: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """What paths z(t) differ by from the straight lines between their ends.

    Args:
        times: The times from 0 to 1, [points].
        paths: The values, [..., points, starts].
    """
    weight = times[:, None]
    return paths - ((1 - weight) * paths[..., :1, :] + weight * paths[..., -1:, :])


def flow_view(
    critic: FlowCritic,
    observations: np.ndarray,
    actions: np.ndarray,
    labels: Sequence[str],
    *,
    starts: int = 5,
) -> FlowView:
    """The flow of some states and actions.

    Args:
        critic: The critic.
        observations: The states, [states, obs].
        actions: The actions, [states, act].
        labels: What to call them.
        starts: Starts of the flow, spread evenly over the noise interval.
    """
    noise = np.linspace(*critic.noise_interval, starts, dtype=np.float32)
    paths = _trajectories(critic, observations, actions, np.tile(noise, (len(observations), 1)))
    return FlowView(
        labels=tuple(labels),
        times=np.linspace(0.0, 1.0, paths.shape[1]),
        paths=np.moveaxis(np.asarray(paths), 2, 0),
        noise_interval=critic.noise_interval,
    )


def rollout_flow_view(
    critic: FlowCritic, policy: Policy, recording: Recording, *, states: int = 6, starts: int = 5
) -> FlowView:
    """The flow in states spread over a rollout, at an action of the policy.

    Args:
        critic: The critic.
        policy: The policy.
        recording: The rollout.
        states: How many states, at most.
        starts: Starts of the flow.
    """
    length = len(recording.actions)
    steps = np.unique(np.linspace(0, length - 1, states).round().astype(int))
    observations = recording.observations[steps]
    # Of those behind V(s), the first.
    actions = _actions(policy, observations, jax.random.split(jax.random.key(0))[0], many=1)
    labels = [f"step {step:,} of the rollout" for step in steps]
    return flow_view(critic, observations, actions[:, 0], labels, starts=starts)


@dataclasses.dataclass(frozen=True, eq=False)
class RolloutView:
    """The learned value along a rollout.

    Attributes:
        steps: The rollout's steps, [points].
        values: V(s) at them, [points].
        outcomes: The discounted return that followed each, [points]; None unless the rollout
            ended in success, since a cut one does not show the whole return.
    """

    steps: np.ndarray
    values: np.ndarray
    outcomes: np.ndarray | None


def rollout_view(
    critic: Critic,
    policy: Policy,
    recording: Recording,
    *,
    discount: float,
    points: int = 192,
) -> RolloutView:
    """The learned value at up to `points` states of a rollout."""
    length = len(recording.actions)
    steps = np.unique(np.linspace(0, length - 1, points).round().astype(int))
    values, _ = state_values(critic, policy, recording.observations[steps])
    outcomes = np.zeros(length + 1)
    for step in reversed(range(length)):
        outcomes[step] = recording.rewards[step] + discount * outcomes[step + 1]
    return RolloutView(steps, values, outcomes[steps] if recording.success else None)


@dataclasses.dataclass(frozen=True, eq=False)
class MazeView:
    """The learned value over a maze, and a rollout in it; lengths in the simulator's units.

    Attributes:
        values: V(s) at points of free cells and NaN in walls, [rows, columns] from low y to high.
        extent: The maze's left, right, lower and upper edge.
        path: The rollout's positions, [length + 1, 2].
        goal: Its goal, [2].
        centres: Positions of the arrows, [arrows, 2].
        arrows: The policy's mean action there, [arrows, 2]; None where actions are no movements
            in the plane.
    """

    values: np.ndarray
    extent: tuple[float, float, float, float]
    path: np.ndarray
    goal: np.ndarray
    centres: np.ndarray
    arrows: np.ndarray | None


def maze_view(
    critic: Critic,
    policy: Policy,
    recording: Recording,
    environment: EnvironmentSpec,
    *,
    seed: int,
) -> MazeView | None:
    """The value over the free cells of the environment's maze, with a rollout's path.

    The body is put at each point in the posture in which the rollout started.

    Args:
        critic: The critic.
        policy: The policy.
        recording: Episode 0 of an evaluation.
        environment: The evaluation's environment.
        seed: The evaluation's seed.

    Returns:
        The view; None if the environment is no maze of OGBench's, or is seen in images.
    """
    slots = Slots.build(environment, 1)
    try:
        maze: Any = slots.environments[0].unwrapped
        if not hasattr(maze, "maze_map") or slots.form is not None:
            return None
        slots.reset(np.zeros(1, np.int64), np.array([episode_seed(seed, 0)]))
        goal = np.array(maze.cur_goal_xy, float)
        free = np.kron(maze.maze_map == 0, np.ones((_CELL_POINTS, _CELL_POINTS), bool))
        origin = np.array(maze.ij_to_xy((0, 0)), float)
        unit = float(maze.ij_to_xy((0, 1))[0] - origin[0])
        rows_columns = np.argwhere(free)
        points = origin + unit * ((rows_columns[:, ::-1] + 0.5) / _CELL_POINTS - 0.5)
        centres = origin + unit * np.argwhere(maze.maze_map == 0)[:, ::-1]
        observations = np.stack([_observation_at(maze, xy) for xy in [*points, *centres]])
    finally:
        slots.close()
    found, actions = state_values(critic, policy, observations)
    values = np.full(free.shape, np.nan)
    values[free] = found[: len(points)]
    corner = origin - unit / 2
    far = corner + unit * np.array(maze.maze_map.shape[::-1])
    # A chunk's first action is the one that the policy takes here.
    arrows = actions[len(points) :, :, :2].mean(axis=1) if slots.sizes.action_dim == 2 else None
    return MazeView(
        values=values,
        extent=(corner[0], far[0], corner[1], far[1]),
        path=recording.observations[:, :2],
        goal=goal,
        centres=centres,
        arrows=arrows,
    )


def _observation_at(maze: Any, xy: np.ndarray) -> np.ndarray:
    maze.set_xy(xy)
    return maze.get_ob()
