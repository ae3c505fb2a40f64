"""Recording: episodes of an evaluation again, with all that was seen and done."""

import contextlib
import dataclasses
from collections.abc import Sequence

import gymnasium
import numpy as np

from floq.acting import Rollouts
from floq.envs.make import Environment, EnvironmentSpec, spec_of
from floq.envs.names import needs_renderer
from floq.envs.slots import Slots
from floq.settings import takes_settings
from floq.types import Policy


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One episode in full.

    Attributes:
        observations: What the policy saw, and the last observation, [length + 1, obs]: float32
            of vectors; of images and dictionaries bytes, whose form is a run's
            `run.config.statistics.observations`: `form.unpack(observations[:, -form.nbytes :])`
            gives the arrays.
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
    seed: int = 0,
    episode: int = 0,
    render: bool = True,
    max_frames: int = 100,
) -> Recording:
    """Play one episode of an evaluation again, in this process, and keep all of it.

    The command `floq record` makes a video of such episodes, of a run in its own environment; this
    gives their arrays, of any policy in any environment.

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
        ValueError: As `Evaluator.evaluate`, or if there are fewer than two pictures to keep.
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
        max_frames: Most pictures of an episode, at least 2.
        expected: About how many steps an episode takes, if it is known: fewer pictures are thrown
            away then.

    Raises:
        ValueError: As `Evaluator.evaluate`, or if there are fewer than two pictures to keep.
    """
    if render and max_frames < 2:
        raise ValueError(f"max_frames is {max_frames}: give 2 or more, or render=False for none.")
    spec, count = spec_of(env), len(episodes)
    slots, no_frames = _rendering_slots(spec, count) if render else (Slots.build(spec, count), "")
    most = max_frames if render and not no_frames else 0
    cameras = [_Camera(one, most, expected=expected) for one in slots.environments]
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


class _Camera:
    """Pictures spread evenly over an episode whose length is not known beforehand."""

    def __init__(self, env: gymnasium.Env, max_frames: int, *, expected: float = 0.0):
        """Takes no picture yet.

        Args:
            env: What to take pictures of.
            max_frames: Most of them.
            expected: About how many steps the episode takes, if somebody knows: rendering is slow,
                and of what is taken too often half is thrown away.
        """
        self._env, self._max_frames, self._looks = env, max_frames, 0
        self.frames: list[np.ndarray] = []
        # An episode of half the steps still has as many pictures.
        self.stride = max(1, int(expected / 2 / max(max_frames, 1)))

    def look(self) -> None:
        """Take a picture if it is time for one."""
        if self._max_frames and self._looks % self.stride == 0:
            if len(self.frames) == self._max_frames:
                self.frames = self.frames[::2]
                self.stride *= 2
            if self._looks % self.stride == 0:
                self.frames.append(np.asarray(self._env.render(), np.uint8))
        self._looks += 1


def _rendering_slots(spec: EnvironmentSpec, count: int) -> tuple[Slots, str]:
    """Slots that render; or some that do not, and why none does."""
    slots = None
    try:
        slots = Slots.build(spec, count, render_mode="rgb_array")
        if needs_renderer():
            raise RuntimeError(
                "there is no display, and MuJoCo was imported without MUJOCO_GL: start Python with "
                "MUJOCO_GL=egl in its environment"
            )
        slots.reset(np.zeros(1, np.int64), np.zeros(1, np.int64))
        if not isinstance(slots.environments[0].render(), np.ndarray):
            raise ValueError("its render() returns no picture")
    except Exception as error:
        if slots is not None:
            with contextlib.suppress(Exception):  # What cannot render may not close either.
                slots.close()
        return Slots.build(spec, count), f"no rendering here: {type(error).__name__}: {error}"
    return slots, ""
