"""Recording: episodes of an evaluation again, with all that was seen and done."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np

from floq.acting import Plans, episode_goals, episode_seed, frames_for, step_keys
from floq.envs.make import Environment, spec_of
from floq.envs.rendering import Camera, rendering_slots
from floq.envs.slots import Slots
from floq.evaluation import BATCH
from floq.settings import takes_settings
from floq.types import Policy


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One episode in full.

    Attributes:
        observations: What the policy saw, and the last observation, float32 [length + 1, obs].
        actions: What it did, clipped to [-1, 1], float32 [length, act].
        rewards: What it got, [length].
        success: Whether the environment reported success, None where it reports none.
        frames: Pictures from the first observation on, uint8 [frames, height, width, 3]; None
            without rendering.
        frame_stride: Steps between two pictures.
        no_frames: Why there are no frames; empty if there are, or none were asked for.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    success: bool | None
    frames: np.ndarray | None
    frame_stride: int
    no_frames: str


@takes_settings("seed", "episode", "max_frames")
def record(
    policy: Policy,
    env: Environment,
    *,
    seed: int,
    episode: int = 0,
    render: bool = True,
    max_frames: int = 100,
) -> Recording:
    """Play one episode of an evaluation again, in this process, and keep all of it.

    Args:
        policy: The policy.
        env: The environment of the evaluation.
        seed: The evaluation's seed.
        episode: The episode's number in it.
        render: Whether to take pictures.
        max_frames: Most pictures to keep, spread evenly over the episode; at least 2.

    Returns:
        The episode: what `Evaluator.evaluate` played as number `episode` with this seed.

    Raises:
        ValueError: As `Evaluator.evaluate`.
    """
    many = record_episodes(
        policy, env, seed=seed, episodes=(episode,), render=render, max_frames=max_frames
    )
    return many[0]


def record_episodes(
    policy: Policy,
    env: Environment,
    *,
    seed: int,
    episodes: Sequence[int],
    render: bool = True,
    max_frames: int = 100,
) -> list[Recording]:
    """Plays several episodes of an evaluation again, side by side: as `record`, for each.

    Args:
        policy: The policy.
        env: The environment of the evaluation.
        seed: The evaluation's seed.
        episodes: The episodes' numbers in it, at most `BATCH`.
        render: Whether to take pictures.
        max_frames: Most pictures of an episode.
    """
    spec, count = spec_of(env), len(episodes)
    slots, no_frames = rendering_slots(spec, count) if render else (Slots.build(spec, count), "")
    most = max_frames if render and not no_frames else 0
    cameras = [Camera(one, most) for one in slots.environments]
    numbers = np.full(BATCH, episodes[0], np.int32)
    numbers[:count] = episodes
    frames = frames_for(policy, BATCH, slots.sizes)
    seeds = np.array([episode_seed(seed, episode) for episode in episodes])
    active = np.arange(count)
    goals = episode_goals(np.array(episodes), slots.goal_count)
    frames.begin(active, slots.reset(active, seeds, goals))
    plans, time = Plans(BATCH, slots.action_dim), 0
    observations = [[row.copy()] for row in frames.stacked[:count]]
    actions: list[list[np.ndarray]] = [[] for _ in episodes]
    rewards: list[list[float]] = [[] for _ in episodes]
    success = np.full(count, np.nan)
    for camera in cameras:
        camera.look()
    while active.size:
        times = np.full(BATCH, time, np.int32)
        ask = partial(policy, frames.stacked, step_keys(seed, numbers, times))  # pyright: ignore
        chosen = plans.actions(active, times, ask)[active]
        steps = slots.step(active, chosen)
        frames.push(active, steps.observations)
        success[active] = np.fmax(success[active], steps.successes)
        for row, slot in enumerate(active):
            observations[slot].append(frames.stacked[slot].copy())
            actions[slot].append(chosen[row])
            rewards[slot].append(float(steps.rewards[row]))
            cameras[slot].look()
        active, time = active[~(steps.terminated | steps.truncated)], time + 1
    slots.close()
    return [
        Recording(
            np.stack(observations[slot]),
            np.stack(actions[slot]),
            np.array(rewards[slot]),
            None if np.isnan(success[slot]) else bool(success[slot]),
            np.stack(camera.frames) if camera.frames else None,
            camera.stride,
            no_frames,
        )
        for slot, camera in enumerate(cameras)
    ]
