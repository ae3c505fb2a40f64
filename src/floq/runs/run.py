"""A run that is done, or was done up to its newest checkpoint."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from floq.acting import BATCH
from floq.algorithms.common import data_chunk, frames_of
from floq.disk import user_path
from floq.envs.make import SCALING
from floq.envs.preflight import Bounds, meaning
from floq.export import Format, Trained, export_policy
from floq.plugins import command
from floq.runs.actor import Actor
from floq.runs.checkpoint import Checkpoint, newest_checkpoint
from floq.runs.directory import EVALUATIONS, METRICS, RunConfig, read_config, read_rows
from floq.runs.hub import fetch, is_shared
from floq.runs.states import states_template
from floq.runs.versions import versions
from floq.settings import to_json
from floq.types import Algorithm, Policy

_CANDIDATES = 128
"""Actions that one call of a policy weighs: enough for products to be quick."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What training leaves behind.

    Attributes:
        directory: Where its files lie.
        config: Everything that determined it; the algorithm's own config is `config.config`.
        step: Updates that led to the state.
        state: The algorithm's state, with a leading axis `seeds` on every array.
    """

    directory: Path
    config: RunConfig
    step: int
    state: Any

    def __repr__(self) -> str:
        """One line: the state alone would fill hundreds."""
        seeds = ", ".join(map(str, self.config.seeds))
        return (
            f"<Run {str(self.directory)!r}: {self.config.algorithm}, step {self.step:,} of "
            f"{self.config.total_steps:,}, seeds {seeds}>"
        )

    @property
    def algorithm(self) -> Algorithm:
        """The learning rule."""
        return self.config.rule

    @property
    def policy(self) -> Policy:
        """The learned policy of the first seed."""
        return self.policy_of(self.config.seeds[0])

    def policy_of(self, seed: int) -> Policy:
        """The learned policy of a seed.

        Raises:
            ValueError: If the run has no such seed.
        """
        return make_policy(self.algorithm.act, self.config.config, self.state_of(seed))

    def actor(self, *, policy_seed: int | None = None, seed: int = 0) -> Actor:
        """The learned policy for acting step by step, in the environment's own units.

        These are the units that the data's actions were in before they became [-1, 1], or those of
        the environment that the run knows; [-1, 1] if it knows neither.

        Args:
            policy_seed: Which of the run's seeds acts; the first by default.
            seed: Seed of the policy's noise.

        Raises:
            ValueError: If the run has no such seed, or the noise cannot have it.

        Example:
            >>> import floq
            >>> actor = floq.load_run("runs/pen").actor(seed=0)  # doctest: +SKIP
            >>> actor.reset(); action = actor.act(observation)  # doctest: +SKIP
        """
        config, (low, high) = self.config, self.action_bounds
        return Actor(
            self.algorithm,
            config.config,
            self.state_of(config.seeds[0] if policy_seed is None else policy_seed),
            statistics=config.statistics,
            action_low=np.array(low, np.float32),
            action_high=np.array(high, np.float32),
            seed=seed,
        )

    def export(
        self, directory: str | Path, *, format: Format = "jax", policy_seed: int | None = None
    ) -> Path:
        """Writes the policy as a folder that acts without floq; `floq.load_policy` reads it.

        Args:
            directory: A folder that does not exist yet, or is empty.
            format: "jax", "onnx" or "numpy".
            policy_seed: Which of the run's seeds acts; the first by default.

        Returns:
            The folder.

        Raises:
            FileExistsError: If there is something in the folder.
            ValueError: If the run has no such seed, or its policy cannot be exported.

        Example:
            >>> import floq
            >>> floq.load_run("runs/pen").export("pen-policy", format="onnx")  # doctest: +SKIP
        """
        return export_policy(self.trained(policy_seed), directory, format=format)

    def trained(self, policy_seed: int | None = None) -> Trained:
        """One seed's policy and all that its export says of it.

        Raises:
            ValueError: If the run has no such seed.
        """
        config, (low, high) = self.config, self.action_bounds
        seed = config.seeds[0] if policy_seed is None else policy_seed
        environment = config.environment
        rows = [row for row in self.evaluations if row["seed"] == seed and row["policy"] != "bc"]
        facts = {
            "run": {
                "task": config.task,
                "environment": environment and str(environment.id),
                "goal_entries": self._goal_dim,
                "seed": seed,
                "step": self.step,
                "settings": to_json(config.config),
            },
            "versions": versions(),
            "figures": rows[-1] if rows else {},
        }
        return Trained(
            self.algorithm,
            config.algorithm,
            config.config,
            self.state_of(seed),
            config.statistics,
            low,
            high,
            facts,
            config.normalization,
        )

    @property
    def _goal_dim(self) -> int:
        """How many of an observation's entries, the last ones, are a goal."""
        goals = self.config.goals
        # Where nobody says which entries a goal has, it is a state as a whole.
        return goals.goal_dim(self.config.statistics.observation_dim // 2) if goals else 0

    @property
    def action_bounds(self) -> Bounds:
        """What -1 and 1 of the policy stand for, in the environment's own units."""
        config, spec = self.config, self.config.environment
        if config.action_bounds is not None:
            return config.action_bounds
        if spec is not None and not spec.kwargs.keys().isdisjoint(SCALING):
            return meaning(spec)
        entries = config.statistics.action_dim // data_chunk(config.config)
        return (-1.0,) * entries, (1.0,) * entries

    def state_of(self, seed: int) -> Any:
        """The algorithm's state of a seed, as its functions take it.

        Raises:
            ValueError: If the run has no such seed.
        """
        if seed not in self.config.seeds:
            raise ValueError(f"{self.directory} has no seed {seed}: it has {self.config.seeds}.")
        return state_at(self.state, self.config.seeds.index(seed))

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The rows of `evaluations.jsonl`."""
        return read_rows(self.directory / EVALUATIONS)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`."""
        return read_rows(self.directory / METRICS)


def load_run(directory: str | Path) -> Run:
    """A run from its directory: its config, and the state of its newest intact checkpoint.

    Nothing is written, and the run may be going on meanwhile.

    Args:
        directory: The run; or `hf:OWNER/NAME`, one that is shared on the Hugging Face Hub, which is
            fetched.

    Raises:
        ConnectionError: If the Hub cannot be reached, or does not give the run.
        FileNotFoundError: If there is no run, or it has saved nothing yet.
        RuntimeError: If all its checkpoints are damaged.
        ValueError: If a file does not say what it should.
    """
    path = fetch(directory) if is_shared(directory) else user_path(directory, "directory")
    config = read_config(path)
    checkpoint = saved(path, config)
    return Run(path, config, checkpoint.step, checkpoint.state)


def saved(path: Path, config: RunConfig) -> Checkpoint:
    """The newest intact checkpoint of a run.

    Raises:
        FileNotFoundError: If there is none yet.
        RuntimeError: If all are damaged.
        ValueError: If it is none of such a run.
    """
    template = states_template(config.rule, config.config, config.statistics, config.seeds)
    checkpoint = newest_checkpoint(path / "checkpoints", template)
    if checkpoint is None:
        raise FileNotFoundError(
            f"{path} has no checkpoint yet: wait for its first one, or run "
            f"`{command('resume', path)}`."
        )
    return checkpoint


@functools.partial(jax.jit, static_argnums=1)
def state_at(state: Any, index: int) -> Any:
    """One seed's state of a stacked one."""
    return jax.tree.map(lambda leaf: leaf[index], state)


@dataclasses.dataclass(frozen=True, eq=False)
class _Policy:
    """A compiled policy, the frames that its observations hold, and the rows of a call."""

    act: Callable[..., Any]
    state: Any
    frames: int
    rows: int

    def __call__(self, observations: Any, keys: Any) -> Any:
        return self.act(self.state, observations, keys)


def make_policy(act: Callable[..., Any], config: Any, state: Any) -> Policy:
    """A policy from a function like an algorithm's `act`, and one seed's state."""
    candidates = max(getattr(config, "candidates", 0), 1)
    rows = min(max(_CANDIDATES // candidates, 1), BATCH)
    return _Policy(_compiled_act(act, config), state, frames_of(config), rows)


@functools.cache
def _compiled_act(act: Callable[..., Any], config: Any) -> Callable[..., Any]:
    """Compiled once, for all states."""
    return jax.jit(lambda state, observations, keys: act(config, state, observations, keys=keys))
