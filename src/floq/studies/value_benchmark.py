"""The value benchmark: how near a critic comes to values that are known exactly.

A critic evaluates a fixed policy from fixed data of a small MDP. Next actions come from the policy
itself, so that nothing is tested but the critic. The error is the root mean square over all states
and actions, in standard deviations of the true values: a constant reaches 1. The MDPs are those of
`floq.studies.value_problems`.
"""

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from floq.compute import count_flops, count_parameters
from floq.studies.value_problems import Problem, Waves
from floq.studies.value_program import (
    BenchmarkProgram,
    Carry,
    Create,
    Probe,
    SampledProblem,
    Training,
    ValueReading,
    read_values,
    relative_error,
)
from floq.workers import available_cores


class BenchmarkResult(NamedTuple):
    """What one seed came to.

    Attributes:
        errors: Of each reading, the error at each point of training.
        probes: Of each probe, its value at each point.
        table: The error of a table filled from the same data: what the data itself allows.
        parameters: Numbers in all arrays of the critic.
        flops: Floating-point operations of an update.
        seconds: Seconds of an update; of a seed that ran alone where seeds run in threads, and of
            all seeds together, over their number, where they run as one batch.
    """

    errors: dict[str, tuple[float, ...]]
    probes: dict[str, tuple[float, ...]]
    table: float
    parameters: int
    flops: float
    seconds: float


def benchmark(
    create: Create,
    *,
    problem: Problem = Waves(),
    training: Training = Training(),
    seeds: Sequence[int] = tuple(range(10)),
    readings: Mapping[str, ValueReading] | None = None,
    probes: Mapping[str, Probe] | None = None,
) -> Iterator[tuple[int, BenchmarkResult]]:
    """Trains a critic with every seed, and compares its values with the truth.

    A seed has an MDP, data and an initialisation of its own: the same ones for every critic, so
    that differences between critics can be taken seed by seed. A CPU runs each seed in a thread,
    as many at a time as there are cores; an accelerator runs all as one batch.

    Args:
        create: Makes the critic: `create(statistics, discount=…, key=…)`.
        problem: The family of MDPs.
        training: How the critic learns.
        seeds: Seeds, all of them different.
        readings: Ways to read the values, by name; the critic's own by default, called "values".
        probes: Other numbers to follow, by name.

    Yields:
        Each seed with its result, as soon as it is done.

    Example:
        ```python
        create = FlowCriticConfig().create
        for seed, result in benchmark(create, seeds=range(10)):
            print(seed, result.errors["values"][-1])
        ```
    """
    program = BenchmarkProgram(
        create, problem, training, readings or {"values": read_values}, probes or {}
    )
    problems = [program.sample_problem(seed) for seed in seeds]
    if jax.default_backend() == "cpu":
        yield from _run_threads(program, seeds, problems)
    else:
        yield from _run_batch(program, seeds, problems)


def _cost(program: BenchmarkProgram, sampled: SampledProblem) -> tuple[int, float]:
    """Parameters of the critic, and floating-point operations of an update."""
    key = jax.random.key(0)
    critic = jax.eval_shape(program.create, sampled, key)
    carry = jax.eval_shape(
        lambda critic: Carry(critic, critic, program.optimizer.init(critic), critic), critic
    )
    training = program.training

    def count(steps: int | None) -> float:
        round_ = functools.partial(program.round, integration_steps=steps)
        return count_flops(round_, sampled, key, carry, jnp.zeros((), jnp.int32))

    share = training.coarse_until
    flops = (1 - share) * count(None) + (share * count(1) if share else 0)
    return count_parameters(critic), flops / training.updates_per_target


def _run_threads(
    program: BenchmarkProgram, seeds: Sequence[int], problems: Sequence[SampledProblem]
) -> Iterator[tuple[int, BenchmarkResult]]:
    """Each seed by itself, as many at a time as there are cores: a CPU is slow at batched products.

    The first one runs alone, so that its time is that of an update on an idle machine.
    """
    rounds = program.training.rounds
    arguments = [(sampled, jnp.uint32(seed)) for sampled, seed in zip(problems, seeds, strict=True)]
    run = jax.jit(program.run)

    def timed(index: int, rounds: int) -> tuple[Any, float]:
        started = time.perf_counter()
        measured = jax.device_get(run(*arguments[index], jnp.int32(rounds)))
        return measured, time.perf_counter() - started

    cost = _cost(program, problems[0])
    timed(0, 0)  # Compiles.
    _, beside = timed(0, 0)
    measured, whole = timed(0, rounds)
    seconds = max(whole - beside, 0.0) / program.training.updates
    yield seeds[0], _result(program, measured, problems[0], *cost, seconds)
    threads = ThreadPoolExecutor(available_cores())
    try:
        futures = {threads.submit(timed, index, rounds): index for index in range(1, len(seeds))}
        for future in as_completed(futures):
            index, (measured, _) = futures[future], future.result()
            yield seeds[index], _result(program, measured, problems[index], *cost, seconds)
    finally:
        # After Ctrl-C, only what has begun is waited for.
        threads.shutdown(cancel_futures=True)


def _run_batch(
    program: BenchmarkProgram, seeds: Sequence[int], problems: Sequence[SampledProblem]
) -> Iterator[tuple[int, BenchmarkResult]]:
    """All seeds as one batch."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    arguments = stacked, jnp.array(seeds, jnp.uint32)
    run = jax.jit(jax.vmap(program.run, (0, 0, None)))
    jax.block_until_ready(run(*arguments, jnp.int32(0)))  # Compiles.
    cost = _cost(program, problems[0])
    started = time.perf_counter()
    measured = jax.device_get(run(*arguments, jnp.int32(program.training.rounds)))
    seconds = (time.perf_counter() - started) / program.training.updates / len(seeds)
    for index, (seed, sampled) in enumerate(zip(seeds, problems, strict=True)):
        own = jax.tree.map(lambda leaf, index=index: leaf[index], measured)
        yield seed, _result(program, own, sampled, *cost, seconds)


def _result(
    program: BenchmarkProgram,
    measured: Any,
    sampled: SampledProblem,
    parameters: int,
    flops: float,
    seconds: float,
) -> BenchmarkResult:
    errors, probes = measured
    return BenchmarkResult(
        # A compiled function gives dictionaries sorted by name.
        {name: tuple(map(float, errors[name])) for name in program.readings},
        {name: tuple(map(float, probes[name])) for name in program.probes},
        float(relative_error(sampled, sampled.table)),
        parameters,
        flops,
        seconds,
    )
