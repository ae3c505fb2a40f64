"""OGBench's dataset files, and the rewards of its single tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from floq.data.npz import read_arrays
from floq.data.validation import check_arrays
from floq.observations import packed


def read_ogbench(path: Path, *, simulation: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """A dataset file in OGBench's compact layout, checked.

    Args:
        path: An npz file.
        simulation: Fields of the simulator's state that are needed as well: qpos, qvel or
            button_states.

    Returns:
        `observations` float32 (rows, obs), or images of bytes, `actions` float32 (rows, act),
        `terminals` (rows,), 1 at the last row of each trajectory, whose action leads nowhere; and the simulation fields as
        the file holds them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, lacks a field, or holds unsound data.
    """
    fields = ("observations", "actions", "terminals", *simulation)
    arrays = read_arrays(path, required=fields)
    rows, form = packed(arrays["observations"], source=str(path))
    checked = check_arrays({**arrays, "observations": rows}, source=str(path))
    checked["actions"] = checked["actions"].astype(np.float32, copy=False)
    if form is not None:
        return {**checked, "observations": arrays["observations"]}
    checked["observations"] = checked["observations"].astype(np.float32, copy=False)
    return checked


def simulation_fields(task_name: str) -> tuple[str, ...]:
    """The fields of the simulator's state from which the rewards of a task follow."""
    if task_name.removeprefix("visual-").startswith(("scene", "puzzle")):
        return ("qpos", "button_states")
    return ("qpos",)


def relabel(
    arrays: dict[str, np.ndarray], *, env: gymnasium.Env, task_name: str, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """The rewards and masks of a single task, as OGBench gives them, from the states of the data.

    Args:
        arrays: A file read with its `simulation_fields`.
        env: The task's environment. It is reset, to learn its goal.
        task_name: The task.
        source: What the data is called in messages.

    Returns:
        Rewards and masks, float32 (rows,), each by the state of its row.

    Raises:
        ValueError: The data was collected in another environment.
    """
    # Imported here because it brings the simulator along.
    from ogbench.relabel_utils import relabel_dataset

    simulator: Any = env.unwrapped
    widths = {
        "observations": simulator.observation_space.shape,
        "actions": simulator.action_space.shape,
        "qpos": (simulator.model.nq,),
    }
    if "button_states" in arrays:
        widths["button_states"] = (simulator._num_buttons,)
    for field, due in widths.items():
        if (found := arrays[field].shape[1:]) != due:
            held, width = (" x ".join(map(str, shape)) for shape in (found, due))
            raise ValueError(
                f"{source}: {field} has {held} entries a row, and the "
                f"environment of {task_name} has {width}: the file belongs to another environment"
            )
    labelled = dict(arrays)
    relabel_dataset(task_name, env, labelled)
    return labelled["rewards"], labelled["masks"]
