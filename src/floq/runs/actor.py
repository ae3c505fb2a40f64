"""An actor: a run's policy as a robot's program calls it, one observation after the other."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from floq.export.floq_policy import check_seed, read
from floq.export.folder import as_rows, seen_by
from floq.observations import Frames
from floq.types import Algorithm, Statistics


class Actor:
    """Acts by a policy, and keeps what acting needs from step to step: a key, and a plan.

    A policy with action chunks plans several actions at once; the actor carries them out before it
    asks again. Call `reset` where an episode begins. The same seed and calls give the same actions:
    those of the policy for the keys `jax.random.fold_in` of the seed's key, the episode's number
    from 0, the step in it, and the observation's row, one after the other.

    `floq.load_run(...).actor()` makes one.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        state: Any,
        *,
        statistics: Statistics,
        action_low: np.ndarray,
        action_high: np.ndarray,
        seed: int = 0,
    ):
        """Prepares the policy; it is compiled by the first call.

        Args:
            algorithm: The learning rule.
            config: Its settings.
            state: One seed's state.
            statistics: Shapes of observations and decisions.
            action_low: What -1 stands for in the environment's units, float32 [act].
            action_high: What 1 stands for.
            seed: Seed of the policy's noise, a whole number from 0 to 2³² − 1.
        """
        self._act = functools.partial(_compiled(algorithm.act, config), state)
        self._seen, self._form = {"observations": seen_by(statistics)}, statistics.observations
        self._chunk = config.action_chunk
        self._low, self._range = action_low, (action_high - action_low) / 2
        self._key = jax.random.key(check_seed(seed))
        self._episode = self._step = 0
        self.reset()

    def reset(self) -> None:
        """Begins an episode: the plan is dropped, and the noise is that of the next episode.

        Before the first act of an episode it changes nothing.
        """
        self._episode, self._step = self._episode + bool(self._step), 0
        self._plan = np.zeros((0, 0, 0), np.float32)
        self._frames: Frames | None = None

    def act(self, observation: ArrayLike | Mapping[str, Any]) -> np.ndarray:
        """The next action, or one for each of several observations.

        Args:
            observation: What the environment shows, [obs]; or a batch, [batch, obs], of
                environments that began their episodes together. Another size of batch compiles
                the policy once more. An image, or a dictionary of images and vectors, likewise.

        Returns:
            Actions in the environment's own units, float32 [act] or [batch, act]: those of the
            environment itself, not of `floq.make_env`, which takes actions in [-1, 1].

        Raises:
            ValueError: If the observation has another size or type, is not finite, or is of another
                batch than the episode began with.
        """
        arrays, is_batch = read(self._seen, observation)
        rows = as_rows(self._seen, self._form, arrays)
        if self._step and len(rows) != len(self._plan):
            raise ValueError(
                f"{len(rows)} observations are given, in an episode that began with "
                f"{len(self._plan)}: call reset() first."
            )
        rows = self._framed(rows)
        turn = self._step % self._chunk
        if turn == 0:
            plan = np.asarray(self._act(rows, self._key, self._episode, self._step))
            self._plan = np.clip(plan, -1, 1).reshape(len(rows), self._chunk, -1)
        self._step += 1
        actions = self._low + (self._plan[:, turn] + 1) * self._range
        return actions if is_batch else actions[0]

    def _framed(self, rows: np.ndarray) -> np.ndarray:
        """What the policy reads: the rows, after those of the steps before."""
        every = np.arange(len(rows))
        if self._frames is None:
            count = 1 if self._form is None else self._form.frames
            self._frames = Frames(len(rows), rows.shape[1], count=count, dtype=rows.dtype)
            self._frames.begin(every, rows)
        else:
            self._frames.push(every, rows)
        return self._frames.stacked


@functools.cache
def _compiled(act: Callable[..., Any], config: Any) -> Callable[..., Any]:
    """The policy with its keys, compiled once for all states."""

    def keyed(state: Any, observations: Any, key: Any, episode: Any, step: Any) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(key, episode), step)
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(len(observations)))
        return act(config, state, observations, keys=keys)

    return jax.jit(keyed)
