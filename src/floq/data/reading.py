"""How sources of data are read where their files leave it open.

Free of numpy, so that the command line answers at once.
"""

import dataclasses
from typing import Literal, NamedTuple

from floq.settings import normalise

Layout = Literal["states", "transitions"]
"""What the last row of a trajectory is: a state from which nothing was done, or a transition."""
Convention = Literal["antmaze", "adroit", "locomotion"]
"""The tasks of D4RL whose way with rewards and ends is followed."""
Rewards = Literal["next.reward", "success", "demonstrations"]
"""Where rewards come from that data leaves open, or that are to be others."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How data is read where its files leave it open.

    Attributes:
        layout: What the last row of a trajectory is in arrays of your own: a state from which
            nothing was done ("states"), or a transition like any other ("transitions").
        convention: Of D4RL's files. "locomotion": rewards as they are; trajectories end at
            terminals and timeouts. "adroit": likewise, and where a next observation is more than
            1e-6 from the following row's. "antmaze": reward - 1; trajectories run on past
            terminals, where values end.
        filter_key: Which demonstrations of a robomimic file are read: a name under its mask, such
            as train.
        observation_keys: Which parts of observations that are dictionaries are read, as
            part or part/inner; by default all. Vectors are put side by side in sorted order, as
            gymnasium.wrappers.FlattenObservation does; with images they are a dictionary.
        rewards: "success": 1 at a step that solves the task, where values end, else 0: by the array
            successes of an npz file, success or is_success of Minari's infos, or next.success at
            the end of a LeRobot set's episode. The environment that is given beside such files is
            rewarded likewise, and ends there. Of LeRobot's sets alone: "next.reward", those that it
            holds, and "demonstrations", 1 at the end of every episode, else 0.
        resize: Height and width that the frames of a LeRobot set's videos are given, such as
            96 96; by default they stay as they are.
    """

    layout: Layout | None = None
    convention: Convention | None = None
    filter_key: str | None = None
    observation_keys: tuple[str, ...] = ()
    rewards: Rewards | None = None
    resize: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Gives each field its type, and refuses frames without pixels."""
        normalise(self)
        if self.resize is not None and not 0 < min(self.resize) <= max(self.resize) <= 4096:
            raise ValueError(f"resize is {self.resize}: give a height and a width, 1 to 4096.")

    @property
    def said(self) -> dict[str, object]:
        """What is not left open, by name."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {
            name: value for name in defaults if (value := getattr(self, name)) != defaults[name]
        }


class Parts(NamedTuple):
    """How data that is streamed is cut into parts.

    Attributes:
        blocks: Blocks of a part.
        block_size: Transitions of a block.
        rows: Rows that are kept for a block.
        updates: Updates after which the next part takes the place of the one before.
    """

    blocks: int
    block_size: int
    rows: int
    updates: int
