"""A learning rule that takes microseconds, and data for it: stand-ins in the tests of training.

As a script it trains in a directory, or resumes the run there, and exits as floq's command does.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from floq.algorithms import register_algorithm
from floq.data.dataset import Dataset
from floq.training import EXIT_INTERRUPTED, Interrupted, Schedule, resume, train


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (8, 4)
    kind: Literal["plain", "fancy"] = "plain"
    limit: float | None = None


@dataclasses.dataclass(frozen=True)
class Config:
    inner: Inner = Inner()
    batch_size: int = 16
    discount: float = 0.9
    action_chunk: int = 1
    n_step: int = 1
    learning_rate: float = 1e-2
    noise: float = 0.1

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: give 1 or more.")


class State(NamedTuple):
    weights: jax.Array
    average: jax.Array
    step: jax.Array


def init(config, statistics, *, key):
    weights = jax.random.normal(key, (statistics.observation_dim, statistics.action_dim))
    return State(weights, jnp.zeros_like(weights), jnp.zeros((), jnp.int32))


def update(config, state, batch, *, key):
    """Least squares on the actions, with noise on the targets."""
    noise = config.noise * jax.random.normal(key, batch.actions.shape)

    def loss(weights):
        return jnp.mean(jnp.square(batch.observations @ weights - batch.actions - noise))

    error, gradient = jax.value_and_grad(loss)(state.weights)
    weights = state.weights - config.learning_rate * gradient
    average = 0.99 * state.average + 0.01 * weights
    return State(weights, average, state.step + 1), {
        "loss": error,
        "norm/weights": jnp.linalg.norm(weights),
    }


def act(config, state, observations, *, keys):
    noise = jax.vmap(lambda key: jax.random.normal(key, (state.weights.shape[1],)))(keys)
    return jnp.clip(observations @ state.weights + config.noise * noise, -1, 1)


def act_behaviour(config, state, observations, *, keys):
    return jnp.clip(observations @ state.average, -1, 1)


register_algorithm("tiny", sys.modules[__name__])


def make_dataset(rows: int = 200, seed: int = 0) -> Dataset:
    """Data of the shapes of gymnasium's Pendulum-v1, whose actions are torques from -2 to 2."""
    generator = np.random.default_rng(seed)
    observations = generator.normal(size=(rows, 3)).astype(np.float32)
    actions = np.tanh(observations[:, :1] - observations[:, 1:2])
    terminals = np.zeros(rows, np.float32)
    terminals[49::50] = 1
    return Dataset.from_trajectories(
        observations,
        2 * actions,
        -np.abs(actions[:, 0]),
        np.ones(rows, np.float32),
        terminals,
        action_space=gymnasium.spaces.Box(-2, 2, (1,)),
    )


SCHEDULE = Schedule(
    log_interval=500,
    evaluation_interval=20_000,
    evaluation_episodes=1,
    checkpoint_interval=250,
)


def main(directory: str, steps: str, env: str) -> int:
    dataset = make_dataset()
    try:
        if (Path(directory) / "config.json").exists():
            resume(directory, dataset=dataset, processes=0, progress=False)
        else:
            train(
                Config(),
                dataset,
                directory=directory,
                env=env or None,
                seeds=(3, 5),
                steps=int(steps),
                schedule=SCHEDULE,
                processes=0,
                progress=False,
            )
    except Interrupted as error:
        print(error, file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    # Under its own name, so that the config's class is the same one everywhere.
    import tiny_algorithm

    sys.exit(tiny_algorithm.main(*sys.argv[1:]))
