"""Learning from pictures beside learning from the state, in a room seen from above.

A point is to reach the middle of a room, from 500 aimless episodes: `python -m benchmarks.pixels
DIRECTORY [STEPS]` trains small FQL on pictures of 32 × 32 pixels and on places, three seeds each,
and prints the success of 50 episodes, the updates a second and the encoders' share of an update.
"""

import sys

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import floq
from floq.envs.make import EnvironmentSpec
from floq.runs.results import timing

SIDE, STEPS = 32, 20


class Room(gymnasium.Env):
    """A point in a room, seen from above; an episode ends with success within .15 of the middle."""

    def __init__(self, show="picture"):
        self.show = show
        picture = Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        self.observation_space = picture if show == "picture" else Box(-1, 1, (2,), np.float32)
        self.action_space = Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Puts the point anywhere."""
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        return self._shown(), {}

    def step(self, action):
        """Moves it by at most .15 in each direction."""
        self.place = np.clip(self.place + 0.15 * np.asarray(action), -1, 1)
        done = bool(np.linalg.norm(self.place) < 0.15)
        return self._shown(), 0.0 if done else -1.0, done, False, {"success": done}

    def _shown(self):
        if self.show != "picture":
            return self.place.astype(np.float32)
        picture = np.zeros((SIDE, SIDE, 1), np.uint8)
        row, column = ((self.place + 1) / 2 * (SIDE - 3)).astype(int)
        picture[row : row + 3, column : column + 3] = 255
        return picture


def make_room(show="picture"):
    """The room, which workers import."""
    return Room(show)


def random_data(show, episodes):
    """A dataset of aimless episodes."""
    room, generator = Room(show), np.random.default_rng(0)
    columns = {name: [] for name in ("observations", "actions", "rewards", "masks", "next")}
    ends = []
    for episode in range(episodes):
        observation, _ = room.reset(seed=episode)
        for time in range(STEPS):
            action = generator.uniform(-1, 1, 2).astype(np.float32)
            following, reward, done, _, _ = room.step(action)
            row = observation, action, reward, 1.0 - done, following
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            ends.append(done or time == STEPS - 1)
            observation = following
            if done:
                break
    arrays = map(np.array, columns.values())
    return floq.Dataset.from_transitions(*arrays, ends=np.array(ends))


def main(directory, *, episodes=500, steps=1_000, seeds=(0, 1, 2)):
    """Trains on pictures and on places, and prints the success of both."""
    rates = {}
    for show in ("picture", "place"):
        # Found on places, seeds 10 and 11.
        config = floq.FQLConfig(
            batch_size=64, bc_coefficient=0.1, learning_rate=1e-3, target_rate=0.05, discount=0.95
        )
        run = floq.train(
            floq.small(config),
            random_data(show, episodes),
            env=EnvironmentSpec(
                "benchmarks.pixels:make_room", {"show": show, "max_episode_steps": STEPS}
            ),
            seeds=seeds,
            steps=steps,
            directory=f"{directory}/{show}",
            schedule=floq.Schedule(log_interval=100, evaluation_interval=steps // 2),
            progress=False,
        )
        _, rates[show] = timing(run)
        found = [(row["step"], row["success"]) for row in run.evaluations]
        print(show, found, f"{rates[show]:.1f} updates/s", flush=True)
    # All else is the same.
    print(f"share of the encoders in an update: {1 - rates['picture'] / rates['place']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], steps=int((sys.argv[2:] or ["1000"])[0]))
