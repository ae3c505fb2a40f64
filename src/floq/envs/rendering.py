"""Pictures of an episode, where the machine can render."""

import gymnasium
import numpy as np

from floq.envs.make import EnvironmentSpec
from floq.envs.names import needs_renderer
from floq.envs.slots import Slots


class Camera:
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


def rendering_slots(spec: EnvironmentSpec, count: int) -> tuple[Slots, str]:
    """Slots that render; or some that do not, and why none does."""
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
        return Slots.build(spec, count), f"no rendering here: {type(error).__name__}: {error}"
    return slots, ""
