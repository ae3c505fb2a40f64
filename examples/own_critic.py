"""A critic of your own, under FQL: each network gives a return's median and its spread.

Here:                 python examples/own_critic.py
On the command line:  cd examples; floq train TASK --algorithm fql-laplace --plugin own_critic
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np

import floq


@dataclasses.dataclass(frozen=True)
class LaplaceCriticConfig(floq.NetworkCriticConfig):
    """The settings of every critic that is one network, and the least spread."""

    least_spread: float = 0.05

    def create(self, statistics, *, discount, key):
        return LaplaceCritic(statistics, self, key=key)


class LaplaceCritic(floq.NetworkCritic):
    """Says what its loss is; by default the first output is the value (see `samples_of`)."""

    def __init__(self, statistics, config, *, key):
        super().__init__(statistics, config, outputs=2, key=key)

    def loss(self, observations, actions, targets, draws):
        outputs = self.outputs(observations, actions)  # [ensemble, batch, 1, 2]
        spread = self.config.least_spread + jax.nn.softplus(outputs[..., 1])
        error = jnp.abs(outputs[..., 0] - targets)  # Targets are [batch, 1].
        return jnp.mean(error / spread + jnp.log(spread))


floq.register_critic("laplace", LaplaceCriticConfig)  # So that config.json can name it.
CONFIG = floq.small(floq.FQLConfig(critic=LaplaceCriticConfig()))
floq.register_preset("fql-laplace", CONFIG)  # So that the command line can, too.


def main(directory: str = "runs/own-critic", steps: str = "2000") -> None:
    generator = np.random.default_rng(0)
    places = generator.uniform(-1, 1, (1000, 2)).astype(np.float32)
    moves = generator.uniform(-1, 1, (1000, 2)).astype(np.float32)
    after = np.clip(places + 0.2 * moves, -1, 1)
    rewards = -np.linalg.norm(after, axis=1)  # The middle is best.
    dataset = floq.Dataset.from_transitions(places, moves, rewards, np.ones(1000), after)
    run = floq.train(CONFIG, dataset, directory=directory, steps=int(steps))
    state = floq.load_run(run.directory).state_of(0)  # Found again by its name.
    values = state.parameters.critic.values(jnp.asarray(places[:2]), jnp.asarray(moves[:2]))
    print("places", places[:2], "have the values", values)


if __name__ == "__main__":
    main(*sys.argv[1:])
