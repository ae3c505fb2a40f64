"""Environments whose episodes have a goal, which stands behind each observation."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, flatten, flatten_space

_STATE, _GOAL = ("achieved_goal", "observation"), "desired_goal"


class GoalObservations(gymnasium.Wrapper):
    """Shows the goal of the episode behind each observation.

    Two kinds of environments have goals. OGBench's give the state that is the goal with a reset, as
    `info["goal"]`; a step is rewarded by -1 then, as transitions with drawn goals are. Those of
    gymnasium observe a dictionary, of which achieved_goal, observation and desired_goal are shown
    in that order, and keep their rewards.

    Attributes:
        goal_count: Goals that evaluations go through in turn, by `options={"task_id": n}` of a
            reset, n from 1; 0 where the environment draws a goal by itself.
    """

    def __init__(self, env: gymnasium.Env, name: str, entries: Sequence[int]):
        """Wraps an environment.

        Args:
            env: The environment.
            name: What it is called in errors.
            entries: Which entries of an observation the goal is; all of them if empty.

        Raises:
            ValueError: If its observations have no such entries.
        """
        super().__init__(env)
        self._name, self._entries = name, list(entries)
        space = env.observation_space
        self._has_parts = isinstance(space, Dict)
        self._goal = np.zeros(0, np.float32)
        simulator: Any = env.unwrapped
        # A single task has but its own goal.
        is_single = getattr(simulator, "_reward_task_id", None) is not None
        self.goal_count = 0 if is_single else int(getattr(simulator, "num_tasks", 0))
        if isinstance(space, Dict):
            self._check_parts(dict(space.spaces))
            flat = [flatten_space(space[key]) for key in (*_STATE, _GOAL)]
            ends = [[getattr(one, end) for one in flat] for end in ("low", "high")]
        elif isinstance(space, Box) and len(space.shape) == 1:
            self._check_entries(space.shape[0])
            ends = [[end, self._chosen(end)] for end in (space.low, space.high)]
        else:
            return  # Refused like any other, by its space.
        low, high = (np.concatenate(parts).astype(np.float32) for parts in ends)
        self.observation_space = Box(low, high)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode, and keeps its goal."""
        observation, info = self.env.reset(seed=seed, options=options)
        if not self._has_parts:
            goal, shape = info.get("goal"), np.shape(observation)
            if goal is None or np.shape(goal) != shape:
                found = "none" if goal is None else f"one of shape {np.shape(goal)}"
                raise ValueError(
                    f"a reset of environment {self._name!r} must give the goal, a state of shape "
                    f'{shape}, as info["goal"], and gave {found}. Or let it observe a dictionary '
                    f"of {', '.join((*_STATE, _GOAL))}."
                )
            self._goal = self._chosen(np.asarray(goal, np.float32))
        return self._with_goal(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; the observation has the episode's goal behind it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        given = reward if self._has_parts else -1.0
        return self._with_goal(observation), given, terminated, truncated, info

    def _with_goal(self, observation: Any) -> np.ndarray:
        if not self._has_parts:
            return np.concatenate([np.asarray(observation, np.float32), self._goal])
        space = self.env.observation_space
        assert isinstance(space, Dict)
        parts: list[Any] = [flatten(space[key], observation[key]) for key in (*_STATE, _GOAL)]
        return np.concatenate(parts).astype(np.float32)

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        return values[self._entries] if self._entries else values

    def _check_entries(self, size: int) -> None:
        if max(self._entries, default=0) >= size:
            raise ValueError(
                f"environment {self._name!r} has observations of {size} entries, and the goal is "
                f"entry {max(self._entries)} of them: give goal_entries from 0 to {size - 1}."
            )

    def _check_parts(self, parts: dict[str, gymnasium.Space]) -> None:
        missing = [key for key in (*_STATE, _GOAL) if key not in parts]
        if missing:
            raise ValueError(
                f"environment {self._name!r} observes a dictionary without {', '.join(missing)}: "
                f"one with goals has {', '.join((*_STATE, _GOAL))}."
            )
        size = flatten_space(parts[_GOAL]).shape
        assert size is not None
        if self._entries != list(range(size[0])):
            raise ValueError(
                f"environment {self._name!r} has goals of {size[0]} entries, which are the first "
                f"ones of what is observed, achieved_goal: give goal_entries from 0 to "
                f"{size[0] - 1}, and read the data with observation_keys achieved_goal and "
                "observation."
            )
