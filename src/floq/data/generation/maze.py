"""Point mazes: a point mass that follows the shortest path to its goal, with noise."""

from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import ogbench  # noqa: F401 (registers the environments)

from floq.data.generation.episodes import Episode, pack_episode, seed_episode
from floq.data.generation.recipes import Recipe

Cell = tuple[int, int]
_STITCH_DISTANCE = 4
"""Cells between the start and the goal of a stitch trajectory."""


class MazeCollector:
    """Collects trajectories of one point maze dataset.

    Args:
        recipe: Settings with behaviour `"navigate"` or `"stitch"`.
    """

    def __init__(self, recipe: Recipe):
        """Builds the environment."""
        self._recipe = recipe
        maze: Any = gymnasium.make(
            recipe.environment, disable_env_checker=True, terminate_at_goal=False
        ).unwrapped
        # OGBench writes the maze's model to a temporary file and leaves it there.
        Path(maze.fullpath).unlink()
        self._maze = maze
        self._free: list[Cell] = [(int(i), int(j)) for i, j in np.argwhere(maze.maze_map == 0)]
        self._junctions = [cell for cell in self._free if not _is_corridor(maze.maze_map, cell)]
        # The path to a goal depends on cells only, and searching it anew takes most of a step.
        self._subgoal = cache(self._search_subgoal)

    def collect(self, seed: int, episode: int) -> Episode:
        """One trajectory, the same whatever was collected before it."""
        maze, recipe = self._maze, self._recipe
        generator, reset_seed = seed_episode(seed, episode)
        start, goal = self._draw_start_and_goal(generator)
        options = {"task_info": {"init_ij": start, "goal_ij": goal}}
        observation, _ = maze.reset(seed=reset_seed, options=options)
        columns: dict[str, list] = {k: [] for k in ("observations", "actions", "qpos", "qvel")}
        for _ in range(recipe.rows):
            action = self._act(generator)
            columns["observations"].append(observation)
            columns["actions"].append(action)
            observation, _, _, _, info = maze.step(action)
            columns["qpos"].append(info["prev_qpos"])
            columns["qvel"].append(info["prev_qvel"])
            if info["success"] and recipe.behaviour == "navigate":
                goal = _pick(generator, self._junctions)
                maze.set_goal(goal_xy=maze.add_noise(maze.ij_to_xy(goal)))
        return pack_episode(columns)

    def _act(self, generator: np.random.Generator) -> np.ndarray:
        """Full speed towards the next cell of the path, plus Gaussian noise, in [-1, 1]."""
        maze = self._maze
        position = maze.get_xy()
        subgoal = self._subgoal(maze.xy_to_ij(position), maze.xy_to_ij(maze.cur_goal_xy))
        towards = subgoal - position
        direction = towards / (np.linalg.norm(towards) + 1e-6)
        action = direction + generator.normal(0.0, self._recipe.noise, size=direction.shape)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _search_subgoal(self, cell: Cell, goal: Cell) -> np.ndarray:
        maze = self._maze
        return maze.get_oracle_subgoal(maze.ij_to_xy(cell), maze.ij_to_xy(goal))[0]

    def _draw_start_and_goal(self, generator: np.random.Generator) -> tuple[Cell, Cell]:
        start = _pick(generator, self._free)
        if self._recipe.behaviour == "navigate":
            return start, _pick(generator, self._junctions)
        return start, _pick(generator, _cells_at(self._free, start, _STITCH_DISTANCE) or [start])


def _pick(generator: np.random.Generator, cells: list[Cell]) -> Cell:
    return cells[generator.integers(len(cells))]


def _is_corridor(maze_map: np.ndarray, cell: Cell) -> bool:
    """Whether the cell's only free neighbours are two opposite ones."""
    i, j = cell
    vertical = (bool(maze_map[i - 1, j]), bool(maze_map[i + 1, j]))
    horizontal = (bool(maze_map[i, j - 1]), bool(maze_map[i, j + 1]))
    return {vertical, horizontal} == {(False, False), (True, True)}


def _cells_at(free: list[Cell], start: Cell, distance: int) -> list[Cell]:
    """The free cells whose shortest path from `start` has `distance` moves, row by row."""
    distances = {start: 0}
    queue = deque([start])
    while queue:
        i, j = queue.popleft()
        for neighbour in ((i - 1, j), (i, j - 1), (i + 1, j), (i, j + 1)):
            if neighbour in free and neighbour not in distances:
                distances[neighbour] = distances[i, j] + 1
                queue.append(neighbour)
    return [cell for cell in free if distances.get(cell) == distance]
