"""A trained flow critic read at another number of integration steps K."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from floq.acting import BATCH
from floq.critics.flow import FlowCritic, FlowCriticConfig
from floq.critics.velocity_field import VelocityField
from floq.evaluation import Evaluation, Evaluator, shown
from floq.inspection.probe import critic_of, decision_values
from floq.inspection.returns import (
    Decisions,
    over_episodes,
    rank_correlation,
    root_mean_square,
)
from floq.intervals import Interval, mean_interval, success_interval
from floq.networks.modules import replaced, with_static
from floq.runs.run import Run


class StepReading(NamedTuple):
    """What a trained critic does at one K; intervals of values are over episodes.

    Attributes:
        steps: The number of integration steps K.
        error: Root of the mean squared difference between value and return.
        change: That error minus the error at the K of training, over the same decisions.
        bias: Mean of value − return.
        spearman: Rank correlation of value and return; None where all returns are equal.
        distance: Root of the mean squared difference from the values at the largest K.
        result: Success, or return, of the policy that reads its critic at this K; None without an
            environment.
    """

    steps: int
    error: Interval
    change: Interval
    bias: float
    spearman: Interval | None
    distance: float
    result: Interval | None


@dataclasses.dataclass(frozen=True, eq=False)
class StepReadings:
    """A trained critic at several K.

    Attributes:
        trained: The K of training.
        readings: One for each K, in increasing order.
        seeds: The run's seeds that are taken together.
        episodes: Episodes of each seed.
        acting: Whether the policy reads the flow as it acts, so that its success depends on K.
        figure: "success", or "return" where the environment reports no success.
    """

    trained: int
    readings: Sequence[StepReading]
    seeds: Sequence[int]
    episodes: int
    acting: bool
    figure: str


def at_integration_steps(run: Run, steps: int) -> Run:
    """The run as if its critic had K = `steps` from now on; its arrays stay the same.

    Raises:
        ValueError: If the run's critic is not a flow, or K is below 1.
    """
    if not isinstance(getattr(run.config.config, "critic", None), FlowCriticConfig):
        raise ValueError(
            f"{run.directory}: {run.config.algorithm} has no flow critic here, so there are no "
            "integration steps to choose. Leave them out."
        )
    config = run.config.config
    critic = dataclasses.replace(config.critic, integration_steps=steps)
    config = dataclasses.replace(config, critic=critic)
    at_steps = lambda module: with_static(module, config=critic)
    fields_of = lambda own: replaced(own, VelocityField, at_steps)
    state = replaced(run.state, FlowCritic, lambda own: at_steps(fields_of(own)))
    return dataclasses.replace(run, config=run.config._replace(config=config), state=state)


def acts_by_the_flow(run: Run) -> bool:
    """Whether another K changes how the policy acts: whether its program is another one."""
    steps = run.config.config.critic.integration_steps
    return _acting_program(run) != _acting_program(at_integration_steps(run, steps + 1))


def _acting_program(run: Run) -> str:
    config, act = run.config, run.algorithm.act
    state = jax.eval_shape(lambda: run.state_of(config.seeds[0]))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH))
    shape = BATCH, config.statistics.observation_dim
    observations = jax.ShapeDtypeStruct(shape, config.statistics.observation_dtype)
    return str(
        jax.make_jaxpr(lambda *arguments: act(config.config, *arguments[:2], keys=arguments[2]))(
            state, observations, keys
        )
    )


def read_at_steps(
    run: Run,
    steps: Sequence[int],
    decisions: Mapping[int, Decisions],
    *,
    episodes: int,
    seed: int = 0,
    processes: int | None = None,
) -> StepReadings:
    """Value error and success of a trained flow critic at several K.

    Args:
        run: The run.
        steps: The K to read at; that of training is added.
        decisions: Decisions of the policy as it was trained, by seed of the run: the same ones for
            every K.
        episodes: Episodes of each seed for its success, at every K on which the policy depends.
        seed: Seed of the episodes.
        processes: Processes that step environments.

    Raises:
        ValueError: If the run has no flow critic, or a K is below 1.
    """
    # Refuses what cannot be before any work.
    at_integration_steps(run, min(steps, default=1))
    trained = run.config.config.critic.integration_steps
    counts = sorted({*steps, trained})
    acting = acts_by_the_flow(run)
    results: dict[int, Interval | None] = dict.fromkeys(counts)
    figure = "success"
    if run.config.environment is not None:
        with Evaluator(run.config.environment, processes=processes) as evaluator:
            for count in counts if acting else [trained]:
                read = at_integration_steps(run, count)
                policies = [read.policy_of(own) for own in decisions]
                found = [
                    shown(evaluator, policy, episodes=episodes, seed=seed) for policy in policies
                ]
                results[count], figure = _result(found)
        if not acting:
            results = dict.fromkeys(counts, results[trained])
    values = {count: _values_at(run, count, decisions) for count in counts}
    returns = np.concatenate([own.returns for own in decisions.values()])
    # The seeds play the same numbers of episodes, which are others for each.
    numbers = [
        np.stack([np.full_like(own.episodes, index), own.episodes])
        for index, own in enumerate(decisions.values())
    ]
    _, clusters = np.unique(np.concatenate(numbers, axis=1), axis=1, return_inverse=True)
    readings = [
        _reading(
            count, values[count], values[trained], values[counts[-1]], returns, clusters.ravel()
        )._replace(result=results[count])
        for count in counts
    ]
    return StepReadings(trained, readings, tuple(decisions), episodes, acting, figure)


def _reading(
    steps: int,
    values: np.ndarray,
    trained: np.ndarray,
    finest: np.ndarray,
    returns: np.ndarray,
    episodes: np.ndarray,
) -> StepReading:
    error, before = values - returns, trained - returns
    return StepReading(
        steps,
        over_episodes(lambda rows: root_mean_square(error[rows]), episodes),
        over_episodes(
            lambda rows: root_mean_square(error[rows]) - root_mean_square(before[rows]), episodes
        ),
        float(error.mean()),
        rank_correlation(values, returns, episodes),
        root_mean_square(values - finest),
        None,
    )


def _values_at(run: Run, steps: int, decisions: Mapping[int, Decisions]) -> np.ndarray:
    read, values = at_integration_steps(run, steps), []
    for seed, own in decisions.items():
        critic = critic_of(read, seed)
        assert critic is not None
        values.append(decision_values(critic, own.observations, own.actions))
    return np.concatenate(values)


def _result(found: Sequence[Evaluation]) -> tuple[Interval, str]:
    """Success over seeds, or return where the environment reports no success."""
    rates = [one.success_rate for one in found if one.success_rate is not None]
    if rates:
        return success_interval(rates, found[0].episodes), "success"
    return mean_interval([one.mean_return for one in found]), "return"
