"""Cubes, scenes and puzzles: a robot arm that is given one manipulation target after another."""

from itertools import count
from typing import Any

import gymnasium
import numpy as np
import ogbench  # noqa: F401 (registers the environments)
from ogbench.manipspace.oracles.markov.button_markov import ButtonMarkovOracle
from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
from ogbench.manipspace.oracles.markov.drawer_markov import DrawerMarkovOracle
from ogbench.manipspace.oracles.markov.window_markov import WindowMarkovOracle
from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle
from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle
from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle

from floq.data.generation.episodes import Episode, pack_episode, seed_episode
from floq.data.generation.recipes import Recipe

_PLANNERS = {
    "cube": CubePlanOracle,
    "button": ButtonPlanOracle,
    "drawer": DrawerPlanOracle,
    "window": WindowPlanOracle,
}
_CLOSED_LOOP = {
    "cube": CubeMarkovOracle,
    "button": ButtonMarkovOracle,
    "drawer": DrawerMarkovOracle,
    "window": WindowMarkovOracle,
}
_NOISE_SMOOTHING = 0.5
"""Width, in steps, of the Gaussian filter over a plan's noise."""
_SMALLEST_MOVE = 0.4
"""Length in metres that closed-loop controllers stretch a shorter way to their target to."""
_NOISE_SCALES = np.array([1.0, 1.0, 1.0, 3.0, 10.0])
"""Closed-loop noise of x, y, z, yaw and gripper, relative to that of x."""
_BLOCK = slice(14, 17)
"""Where qpos holds the position of the first cube."""


class ManipulationCollector:
    """Collects trajectories of one cube, scene or puzzle dataset.

    Args:
        recipe: Settings with behaviour `"play"` or `"noisy"`.
    """

    def __init__(self, recipe: Recipe):
        """Builds the environment."""
        self._recipe = recipe
        self._environment: Any = gymnasium.make(
            recipe.environment,
            disable_env_checker=True,
            terminate_at_goal=False,
            mode="data_collection",
        ).unwrapped

    def collect(self, seed: int, episode: int) -> Episode:
        """One trajectory, the same whatever was collected before it."""
        attempts = (self._attempt(seed, episode, number) for number in count())
        if "scene" not in self._recipe.environment:
            return next(attempts)
        return next(attempt for attempt in attempts if _block_in_sight(attempt["qpos"]))

    def _attempt(self, seed: int, episode: int, attempt: int) -> Episode:
        environment, recipe = self._environment, self._recipe
        generator, reset_seed = seed_episode(seed, episode, attempt)
        observation, info = environment.reset(seed=reset_seed)
        stacking = generator.uniform(*recipe.stacking)
        # A plan carries its own noise.
        spread = generator.uniform(0.0, recipe.noise) if recipe.behaviour == "noisy" else 0.0
        controllers = _make_controllers(environment, recipe)
        controller = controllers[info["privileged/target_task"]]
        controller.reset(observation, info)

        keys = ("observations", "actions", "qpos", "qvel", "button_states")
        columns: dict[str, list] = {key: [] for key in keys}
        for _ in range(recipe.rows):
            if generator.random() < recipe.random_actions:
                action = generator.uniform(-1.0, 1.0, size=len(_NOISE_SCALES))
            else:
                action = controller.select_action(observation, info)
                action = action + generator.normal(0.0, spread * _NOISE_SCALES)
            action = np.clip(action, -1.0, 1.0).astype(np.float32)
            columns["observations"].append(observation)
            columns["actions"].append(action)
            observation, _, _, _, info = environment.step(action)
            columns["qpos"].append(info["prev_qpos"])
            columns["qvel"].append(info["prev_qvel"])
            if "prev_button_states" in info:
                columns["button_states"].append(info["prev_button_states"])
            if controller.done:
                # Departure: the published script chose the next action still by the old target,
                # which in a scene can be one that an earlier episode left.
                _, info = environment.set_new_target(p_stack=stacking)
                controller = controllers[info["privileged/target_task"]]
                controller.reset(observation, info)
        return pack_episode(columns)


def _make_controllers(environment: Any, recipe: Recipe) -> dict[str, Any]:
    """A controller for each kind of target that the environment can give."""
    if recipe.behaviour == "play":
        kinds: dict[str, Any] = _PLANNERS
        options = {"noise": recipe.noise, "noise_smoothing": _NOISE_SMOOTHING}
    else:
        kinds, options = _CLOSED_LOOP, {"min_norm": _SMALLEST_MOVE}
    if "puzzle" in recipe.environment:
        return {"button": kinds["button"](env=environment, gripper_always_closed=True, **options)}
    return {kind: make(env=environment, **options) for kind, make in kinds.items()}


def _block_in_sight(qpos: np.ndarray) -> bool:
    """Whether a scene's cube stays where a goal image would show it, or in the drawer."""
    _, y, z = qpos[:, _BLOCK].T
    too_far_right = y >= 0.29
    too_far_left = (y <= -0.3) & ((z < 0.06) | (z > 0.08))
    return not bool(np.any(too_far_right | too_far_left))
