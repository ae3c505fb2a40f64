"""Recording: one episode of an evaluation again, with all that was seen and done."""

import dataclasses
from functools import partial

import numpy as np

from floq.acting import Plans, episode_seed, step_keys
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
    spec = spec_of(env)
    slots, no_frames = rendering_slots(spec) if render else (Slots.build(spec, 1), "")
    camera = Camera(slots.environments[0], max_frames if render and not no_frames else 0)
    slot, episodes = np.zeros(1, np.int64), np.full(BATCH, episode, np.int32)
    rows = np.zeros((BATCH, slots.observation_dim), np.float32)
    rows[:1] = slots.reset(slot, np.array([episode_seed(seed, episode)]))
    plans = Plans(BATCH, slots.action_dim)
    observations, actions, taken = [rows[0].copy()], [], []
    camera.look()
    while not (taken and (taken[-1].terminated[0] or taken[-1].truncated[0])):
        times = np.full(BATCH, len(taken), np.int32)
        keys = step_keys(seed, episodes, times)
        ask = partial(policy, rows, keys)  # pyright: ignore  (numpy's arrays, see evaluation)
        actions.append(plans.actions(slot, times, ask)[0])
        taken.append(slots.step(slot, actions[-1][None]))
        rows[:1] = taken[-1].observations
        observations.append(rows[0].copy())
        camera.look()
    slots.close()
    success = np.fmax.reduce([steps.successes[0] for steps in taken])
    return Recording(
        np.stack(observations),
        np.stack(actions),
        np.array([steps.rewards[0] for steps in taken]),
        None if np.isnan(success) else bool(success),
        np.stack(camera.frames) if camera.frames else None,
        camera.stride,
        no_frames,
    )
