"""`floq record`: a video of what a run has learned."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class Record:
    """Write a video of a run's policy: episodes side by side, the learned value below.

    They are played in the run's own environment. In Python, `floq.record` plays any policy in any
    environment, and gives observations, actions, rewards and pictures as arrays.

    Attributes:
        directory: The run.
        output: The video: a file that ends in .webp, .gif or .mp4; rollout.webp in the run's folder
            by default.
        episodes: How many.
        seed: Seed of the episodes, which are the first of `floq evaluate` with it.
        policy_seed: Which of the run's seeds acts; its first by default.
    """

    directory: tyro.conf.Positional[Path]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    episodes: int = 4
    seed: int = 0
    policy_seed: int | None = None

    def run(self) -> int:
        """Writes the video."""
        from floq.reports.rollout import rollout_video

        video = rollout_video(
            self.directory,
            self.output,
            episodes=self.episodes,
            seed=self.seed,
            policy_seed=self.policy_seed,
        )
        print(f"Wrote {video}")
        return 0
