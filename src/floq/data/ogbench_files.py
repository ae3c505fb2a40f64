"""OGBench's dataset files, and the rewards of its single tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from floq.data.sharded import ShardedRows


def simulation_fields(task_name: str) -> tuple[str, ...]:
    """The fields of the simulator's state from which the rewards of a task follow."""
    if task_name.removeprefix("visual-").startswith(("scene", "puzzle")):
        return ("qpos", "button_states")
    return ("qpos",)


class _Settled:
    """An environment whose goal is known once it has been reset, and stays."""

    def __init__(self, env: gymnasium.Env):
        env.reset()
        self.unwrapped = env.unwrapped

    def reset(self) -> None:
        pass


def read_task(
    path: Path, *, env: gymnasium.Env, task_name: str, rewarded: Callable[[np.ndarray], np.ndarray]
) -> ShardedRows:
    """The data of a single task, whose rewards and masks follow from those that OGBench gives it.

    Args:
        path: A file of OGBench, or a folder of its shards.
        env: The task's environment. It is reset, to learn its goal.
        task_name: The task.
        rewarded: The rewards, from those that OGBench gives.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is damaged, or was collected in another environment.
    """
    # Imported here because it brings the simulator along.
    from ogbench.relabel_utils import relabel_dataset

    settled = _Settled(env)

    def label(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        labelled = dict(arrays)
        relabel_dataset(task_name, settled, labelled)
        return rewarded(labelled["rewards"]), labelled["masks"]

    rows = ShardedRows.open(path, fields=simulation_fields(task_name), label=label)
    simulator: Any = env.unwrapped
    widths = {
        "observations": simulator.observation_space.shape,
        "actions": simulator.action_space.shape,
        "qpos": (simulator.model.nq,),
    }
    if "button_states" in rows.fields:
        widths["button_states"] = (simulator._num_buttons,)
    for field, due in widths.items():
        if (found := rows.shards[0][field].shape[1:]) != due:
            held, width = (" x ".join(map(str, shape)) for shape in (found, due))
            raise ValueError(
                f"{path}: {field} has {held} entries a row, and the environment of {task_name} "
                f"has {width}: the file belongs to another environment"
            )
    return rows


def read_goal_data(path: Path) -> ShardedRows:
    """The data of an environment whose goals are drawn, which has no rewards of its own.

    Args:
        path: A file of OGBench, or a folder of its shards.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is damaged.
    """

    def label(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rows = len(arrays["terminals"])
        return np.zeros(rows), np.ones(rows)

    return ShardedRows.open(path, fields=("terminals",), label=label)
