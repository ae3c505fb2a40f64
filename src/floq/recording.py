"""Recording: episodes of an evaluation again, with all that was seen and done."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from floq.acting import Rollouts
from floq.envs.make import Environment, spec_of
from floq.envs.rendering import Camera, rendering_slots
from floq.envs.slots import Slots
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
    expected: float = 0.0,
) -> list[Recording]:
    """Plays several episodes of an evaluation again, side by side: as `record`, for each.

    Args:
        policy: The policy.
        env: The environment of the evaluation.
        seed: The evaluation's seed.
        episodes: The episodes' numbers in it, at most `floq.acting.BATCH`.
        render: Whether to take pictures.
        max_frames: Most pictures of an episode.
        expected: About how many steps an episode takes, if it is known: fewer pictures are thrown
            away then.
    """
    spec, count = spec_of(env), len(episodes)
    slots, no_frames = rendering_slots(spec, count) if render else (Slots.build(spec, count), "")
    most = max_frames if render and not no_frames else 0
    cameras = [Camera(one, most, expected=expected) for one in slots.environments]
    rollouts = Rollouts(policy, slots, count, episodes, seed)
    observations = [[row.copy()] for row in rollouts.frames.stacked[:count]]
    actions: list[list[np.ndarray]] = [[] for _ in episodes]
    rewards: list[list[float]] = [[] for _ in episodes]
    for camera in cameras:
        camera.look()
    while (active := rollouts.active).size:
        moment = rollouts.step()
        for row, slot in enumerate(active):
            observations[slot].append(rollouts.frames.stacked[slot].copy())
            actions[slot].append(moment.actions[row])
            rewards[slot].append(float(moment.steps.rewards[row]))
            cameras[slot].look()
    slots.close()
    return [
        Recording(
            np.stack(observations[slot]),
            np.stack(actions[slot]),
            np.array(rewards[slot]),
            None if np.isnan(rollouts.successes[slot]) else bool(rollouts.successes[slot]),
            np.stack(camera.frames) if camera.frames else None,
            camera.stride,
            no_frames,
        )
        for slot, camera in enumerate(cameras)
    ]
