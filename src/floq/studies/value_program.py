"""The compiled program of the value benchmark: one seed's training, with its errors on the way."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, Real, UInt32

from floq.data.dataset import Dataset
from floq.losses import ema_update
from floq.settings import check_not_negative, check_positive, normalise
from floq.studies.altered import with_features_of, with_noise
from floq.studies.value_problems import Problem, collect, statistics
from floq.types import Batch, Critic

Create = Callable[..., Critic]
"""Makes a critic: `create(statistics, discount=…, key=…)`."""

EVALUATION_SAMPLES = 8
"""Noise samples a value averages when it is compared with the truth."""

_MAX_PAIRS = 4096


class Reader(NamedTuple):
    """What a reading or a probe may look at.

    Attributes:
        critic: The critic as it is now.
        stale: The critic as it was after the share `Training.stale_at` of the updates.
        observations: States, [batch, obs].
        actions: Actions, [batch, act].
        noise: From the critic's `sample_noise`, [batch, `EVALUATION_SAMPLES`].
    """

    critic: Any
    stale: Any
    observations: Real[Array, "batch obs"]
    actions: Float[Array, "batch act"]
    noise: Float[Array, "batch samples"]


ValueReading = Callable[[Reader], Float[Array, " batch"]]
"""A way to read the values of all pairs, whose error is wanted."""
Probe = Callable[[Reader], Float[Array, ""]]
"""Another number to follow through training."""


def read_values(reader: Reader) -> Float[Array, " batch"]:
    """The critic's own values."""
    return reader.critic.values(reader.observations, reader.actions, reader.noise)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the critic learns; the same for every critic that is compared.

    Attributes:
        updates: Updates.
        batch_size: Transitions of an update.
        learning_rate: Adam's step size.
        target_rate: τ of the slow copy.
        points: Points of training, equally far apart, at which values are compared with the truth.
        action_chunk: Steps that one decision lasts.
        n_step: Decisions that a target looks ahead.
        next_actions: Actions that a target averages; 0 for as many as the critic has noise samples.
        target_noise: Standard deviation of normal noise on the rewards of every batch, in units of
            return.
        updates_per_target: Updates on the same batch and targets before the next ones are drawn.
        stream: Whether the data arrives in the course of training, at an even rate.
        freeze_at: Share of the updates after which only the last layer learns.
        stale_at: Share of the updates after which the copy is taken that readings call stale.
        coarse_until: Share of the updates, from the first one on, in which a flow's targets take a
            single step.
    """

    updates: int = 3000
    batch_size: int = 128
    learning_rate: float = 3e-3
    target_rate: float = 0.05
    points: int = 6
    action_chunk: int = 1
    n_step: int = 1
    next_actions: int = 0
    target_noise: float = 0.0
    updates_per_target: int = 1
    stream: bool = False
    freeze_at: float = 1.0
    stale_at: float = 0.5
    coarse_until: float = 0.0

    def __post_init__(self) -> None:
        """Refuses settings out of their range."""
        normalise(self)
        whole = ("updates", "batch_size", "points", "action_chunk", "n_step", "updates_per_target")
        check_positive(self, *whole)
        fractions = ("freeze_at", "stale_at", "coarse_until")
        check_not_negative(self, "next_actions", "target_noise", *fractions)
        if self.updates % (self.points * self.updates_per_target):
            raise ValueError(
                f"updates is {self.updates}: give a multiple of points ({self.points}) times "
                f"updates_per_target ({self.updates_per_target})."
            )

    @property
    def rounds(self) -> int:
        """Batches that are drawn between two points."""
        return self.updates // (self.points * self.updates_per_target)

    @property
    def steps(self) -> tuple[int, ...]:
        """Updates before each point."""
        return tuple(self.updates * point // self.points for point in range(1, self.points + 1))


class SampledProblem(NamedTuple):
    """The arrays of one seed's MDP and data."""

    dataset: Dataset
    states: Int[Array, " rows"]
    observations: Real[Array, "states obs"]
    actions: Float[Array, "actions act"]
    policy: Float[Array, "states actions"]
    pair_states: Int[Array, " pairs"]
    pair_actions: Float[Array, "pairs chunk_act"]
    truth: Float[Array, " pairs"]
    table: Float[Array, " pairs"]
    weights: Float[Array, " pairs"]


class Carry(NamedTuple):
    """What training carries from batch to batch."""

    critic: Any
    target: Any
    optimizer: Any
    stale: Any


class BenchmarkProgram:
    """What is compiled once for all seeds."""

    def __init__(
        self,
        create: Create,
        problem: Problem,
        training: Training,
        readings: Mapping[str, ValueReading],
        probes: Mapping[str, Probe],
    ):
        self.training = training
        self._problem = problem
        self.readings = readings
        self.probes = probes
        self.optimizer = optax.adam(training.learning_rate)
        self._discount = problem.discount ** (training.action_chunk * training.n_step)
        self._create = functools.partial(create, discount=self._discount)

    def sample_problem(self, seed: int) -> SampledProblem:
        """The MDP, the data and the truth of a seed."""
        random = np.random.default_rng(seed)
        mdp = self._problem.sample(random)
        chunk, n_step = self.training.action_chunk, self.training.n_step
        data = collect(mdp, self._problem.transitions, random, action_chunk=chunk, n_step=n_step)
        truth, table = mdp.values(chunk), mdp.estimated(data).values(chunk)
        vectors = np.array([np.concatenate(mdp.actions[list(c)]) for c in mdp.sequences(chunk)])
        pairs = np.arange(truth.size)
        if truth.size > _MAX_PAIRS:
            pairs = random.choice(truth.size, _MAX_PAIRS, replace=False)
        pair_states, columns = np.divmod(pairs, len(vectors))
        return SampledProblem(
            data.dataset,
            data.states,
            observations=jnp.asarray(mdp.observations, jnp.float32),
            actions=jnp.asarray(mdp.actions, jnp.float32),
            policy=jnp.asarray(mdp.policy, jnp.float32),
            pair_states=jnp.asarray(pair_states, jnp.int32),
            pair_actions=jnp.asarray(vectors[columns], jnp.float32),
            truth=jnp.asarray(truth.ravel()[pairs], jnp.float32),
            table=jnp.asarray(table.ravel()[pairs], jnp.float32),
            weights=jnp.asarray(mdp.valid[pair_states], jnp.float32),
        )

    def create(self, sampled: SampledProblem, key: Key[Array, ""]) -> Critic:
        """The critic before the first update."""
        sizes = sampled.observations.shape[1], sampled.pair_actions.shape[1]
        return self._create(statistics(*sizes, self._discount), key=key)

    def run(
        self, sampled: SampledProblem, seed: UInt32[Array, ""], rounds: Int[Array, ""]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One seed's errors and probes at every point of training, `rounds` batches apart."""
        training = self.training
        init_key, train_key, read_key = jax.random.split(jax.random.key(seed), 3)
        critic: Any = self.create(sampled, init_key)
        stale_point = max(1, round(training.stale_at * training.points))

        def point(carry: Carry, index: Int[Array, ""]) -> tuple[Carry, Any]:
            def body(number: Any, carry: Carry) -> Carry:
                number = index * rounds + number
                steps = self._integration_steps(critic, number)
                return self.round(sampled, train_key, carry, number, steps)

            carry = jax.lax.fori_loop(0, rounds, body, carry)
            is_stale = index + 1 == stale_point
            stale = jax.tree.map(
                lambda now, then: jnp.where(is_stale, now, then), carry.critic, carry.stale
            )
            carry = carry._replace(stale=stale)
            return carry, self._measure(sampled, carry, jax.random.fold_in(read_key, index))

        carry = Carry(critic, critic, self.optimizer.init(critic), critic)
        _, measured = jax.lax.scan(point, carry, jnp.arange(training.points))
        return measured

    def _measure(self, sampled: SampledProblem, carry: Carry, key: Key[Array, ""]) -> Any:
        """The error of every reading, and every probe."""
        noise = carry.critic.sample_noise((len(sampled.truth), EVALUATION_SAMPLES), key=key)
        observations = sampled.observations[sampled.pair_states]
        reader = Reader(carry.critic, carry.stale, observations, sampled.pair_actions, noise)
        errors = {
            name: relative_error(sampled, reading(reader))
            for name, reading in self.readings.items()
        }
        return errors, {name: probe(reader) for name, probe in self.probes.items()}

    def round(
        self,
        sampled: SampledProblem,
        key: Key[Array, ""],
        carry: Carry,
        number: Int[Array, ""],
        integration_steps: int | Int[Array, ""] | None = None,
    ) -> Carry:
        """One batch and its targets, and `updates_per_target` updates on them.

        The flow of the targets takes `integration_steps`, if not those of the critic.
        """
        again = self.training.updates_per_target
        batch_key, action_key, *keys = jax.random.split(jax.random.fold_in(key, number), 2 + again)
        batch, next_states = self.batch(sampled, number, batch_key)
        next_actions = self._next_actions(sampled, carry.critic, next_states, action_key)
        draws = carry.critic.sample_draws(len(batch.rewards), key=keys[0])
        # Only a flow knows the setting.
        steps = {} if integration_steps is None else {"integration_steps": integration_steps}
        gradient, targets = jax.grad(
            lambda critic: critic.td_loss(
                carry.target, batch, next_actions, self._discount, draws, **steps
            ),
            has_aux=True,
        )(carry.critic)
        step = number * again
        carry = self._updated(carry, gradient, step)
        targets = jax.lax.stop_gradient(targets)
        for more, more_key in enumerate(keys[1:], start=1):
            draws = carry.critic.sample_draws(len(batch.rewards), key=more_key)
            gradient = jax.grad(
                lambda critic, draws=draws: critic.loss(
                    batch.observations, batch.actions, targets, draws
                )
            )(carry.critic)
            carry = self._updated(carry, gradient, step + more)
        return carry

    def _integration_steps(self, critic: Any, number: Int[Array, ""]) -> Int[Array, ""] | None:
        """Steps that the targets of a round take; None for the critic's own."""
        training = self.training
        if not training.coarse_until:
            return None
        coarse = number < training.coarse_until * training.rounds * training.points
        return jnp.where(coarse, 1, critic.config.integration_steps)

    def batch(
        self, sampled: SampledProblem, number: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Batch, Int[Array, " batch"]]:
        """Transitions that have arrived, and the states that they lead to."""
        training, dataset = self.training, sampled.dataset
        available = dataset.size
        if training.stream:
            share = (number + 1) / (training.rounds * training.points)
            available = jnp.maximum(1, share * dataset.size).astype(jnp.int32)
        index_key, noise_key = jax.random.split(key)
        positions = jax.random.randint(index_key, (training.batch_size,), 0, available)
        batch = dataset.take(positions)
        if training.target_noise:
            batch = with_noise(batch, training.target_noise, key=noise_key)
        return batch, sampled.states[dataset.transitions[positions] + dataset.lookahead]

    def _next_actions(
        self,
        sampled: SampledProblem,
        critic: Critic,
        states: Int[Array, " batch"],
        key: Key[Array, ""],
    ) -> Float[Array, "batch samples act"]:
        """Actions of the policy at each state, chunks of them if asked."""
        samples = self.training.next_actions or critic.noise_samples
        shape = (len(states), samples, self.training.action_chunk)
        logits = jnp.log(sampled.policy[states])[:, None, None]
        chosen = jax.random.categorical(key, logits, shape=shape)
        return sampled.actions[chosen].reshape(*shape[:2], -1)

    def _updated(self, carry: Carry, gradient: Any, step: Int[Array, ""]) -> Carry:
        """After a step of Adam; the slow copy averages what was there before it, as published."""
        updates, optimizer = self.optimizer.update(gradient, carry.optimizer)
        target = ema_update(carry.target, carry.critic, self.training.target_rate)
        critic = jax.tree.map(jnp.add, carry.critic, updates)
        if self.training.freeze_at < 1:
            frozen = step >= self.training.freeze_at * self.training.updates
            critic = with_features_of(carry.critic, critic, frozen)
        return carry._replace(critic=critic, target=target, optimizer=optimizer)


def relative_error(sampled: SampledProblem, values: Float[Array, " pairs"]) -> Float[Array, ""]:
    """The root mean square error over valid pairs, in standard deviations of the truth."""
    mean = functools.partial(jnp.average, weights=sampled.weights)
    variance = mean(jnp.square(sampled.truth - mean(sampled.truth)))
    return jnp.sqrt(mean(jnp.square(values - sampled.truth)) / variance)
