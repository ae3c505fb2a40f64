"""Code of your own that training calls: here it keeps the best policy's step, and stops early.

Any logger fits in the same place: `wandb.log({**row, "step": event.step})` for every row.
"""

import sys
from pathlib import Path

import numpy as np
from own_environment import CONFIG

import floq


class GoodEnough(Exception):  # noqa: N818 - no error
    """Raised to end the training; everything is saved, and `floq.resume` would go on."""


class Watch:
    """Notes what comes, and ends the training once the policy succeeds often enough."""

    def __init__(self, enough: float):
        self.enough, self.best, self.best_step = enough, -1.0, 0

    def __call__(self, event: floq.Event) -> None:
        if event.kind == "log":
            for row in event.rows:
                print(f"step {event.step}: critic loss {row['critic/flow_loss']:.3f}")
        if event.kind == "evaluation":
            success = float(np.mean([row["success"] for row in event.rows]))
            if success > self.best:
                self.best, self.best_step = success, event.step
            if success >= self.enough:
                raise GoodEnough(f"success {success:.2f} at step {event.step}")


def main(directory: str = "runs/watched", steps: str = "4000", enough: str = "0.9") -> None:
    watch = Watch(float(enough))
    try:
        floq.train(
            CONFIG,
            None,
            env="my_reach:make",
            directory=Path(directory),
            steps=0,
            online=floq.Online(steps=int(steps), warmup=int(steps) // 10, buffer="online"),
            reward_range=(-1.0, 0.0),
            schedule=floq.Schedule(
                log_interval=int(steps) // 4, evaluation_interval=int(steps) // 4
            ),
            processes=0,
            callbacks=[watch],
        )
    except GoodEnough as reason:
        print("ended early:", reason)
    print(f"best success {watch.best:.2f}, at step {watch.best_step}")


if __name__ == "__main__":
    main(*sys.argv[1:])
