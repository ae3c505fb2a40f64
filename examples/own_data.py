"""Learning from data of your own: arrays, in a robot's own units.

Here:                 python examples/own_data.py
On the command line:  floq train --data runs/pushes.npz --algorithm iql --steps 2000
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import floq


def pushes(rows: int = 2000) -> dict[str, Any]:
    """A cart on a track, pushed at random with up to 8 newtons; the middle is best."""
    generator = np.random.default_rng(0)
    observations = generator.uniform(-1, 1, (rows, 2)).astype(np.float32)  # Place and speed.
    actions = generator.uniform(-8, 8, (rows, 1)).astype(np.float32)
    speeds = observations[:, 1:] + 0.05 * actions
    next_observations = np.concatenate([observations[:, :1] + 0.1 * speeds, speeds], axis=1)
    return {
        "observations": observations,
        "actions": actions,
        "rewards": -np.abs(next_observations[:, 0]),
        "masks": np.float32(np.abs(next_observations[:, 0]) < 1),  # 0: it fell off the track.
        "next_observations": next_observations,
    }


def main(folder: str = "runs", steps: str = "2000") -> None:
    # -1 and 1 inside of floq stand for these forces; a policy gives forces again.
    dataset = floq.Dataset.from_transitions(**pushes(), action_low=[-8.0], action_high=[8.0])
    Path(folder).mkdir(parents=True, exist_ok=True)
    dataset.save(Path(folder) / "pushes.npz")

    config = floq.small(floq.IQLConfig())
    # Given the file, the run knows where its data is: `floq resume` needs nothing else.
    run = floq.train(
        config,
        Path(folder) / "pushes.npz",
        directory=Path(folder) / "pushes",
        steps=int(steps),
        schedule=floq.Schedule(log_interval=max(int(steps) // 10, 1)),
    )
    print(f"the last {run.metrics[-1]}")
    print("at the left end it pushes with", run.actor().act([-0.9, 0.0]), "newtons")


if __name__ == "__main__":
    main(*sys.argv[1:])
