"""The training loop: dispatches the compiled program and does what is due between."""

import contextlib
import math
import time
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floq.algorithms import ALGORITHMS
from floq.data.dataset import Dataset
from floq.evaluation import Evaluator
from floq.training.checkpoint import Checkpoint, checkpoint_paths, named_leaves, save_checkpoint
from floq.training.program import Carry, Program, initial_state
from floq.training.progress import ProgressDisplay
from floq.training.run import Run, make_policy, state_at
from floq.training.run_directory import (
    EVALUATIONS,
    METRICS,
    TIMINGS,
    RunConfig,
    RunDirectory,
    read_rows,
)
from floq.training.signals import Interrupted, StopRequest, interruptions

_DISPATCH_SECONDS = 1.0
"""Aim for one call of the program: long enough to cost nothing, short enough to stop soon."""


class Diverged(RuntimeError):  # noqa: N818 - what happened, not an error of the program
    """A metric or a parameter is no longer finite; nothing of it was saved."""


class Loop:
    """One process's share of a run: up to the last step, or to a signal."""

    def __init__(
        self,
        files: RunDirectory,
        config: RunConfig,
        dataset: Dataset,
        *,
        checkpoint: Checkpoint | None = None,
        done: Collection[str] = (),
        processes: int | None = None,
    ):
        """Prepares to go on from a checkpoint, or to start.

        Args:
            files: The run's directory.
            config: What to do.
            dataset: The run's data.
            checkpoint: Where to go on; None starts.
            done: Files that have their rows of the checkpoint's step already.
            processes: Processes that step environments.

        Raises:
            ValueError: If the checkpoint's metrics are not those of this algorithm.
        """
        self._files, self._config = files, config
        self._algorithm = ALGORITHMS[config.algorithm]
        self._interval = config.schedule.log_interval
        self._program = Program(
            self._algorithm, config.config, dataset, config.seeds, log_interval=self._interval
        )
        if checkpoint is None:
            self._step, self._saved_step = 0, -1
            self._carry = self._program.start(
                initial_state(self._algorithm, config.config, config.statistics, config.seeds)
            )
        else:
            self._step = self._saved_step = checkpoint.step
            self._carry = _restore(self._program.start(checkpoint.state), checkpoint)
        self._logged_step = self._step if METRICS in done else -1
        self._evaluated_step = self._step if EVALUATIONS in done else -1
        self._evaluator = None
        if config.environment is not None:
            self._evaluator = Evaluator(config.environment, processes=processes)
        timings = read_rows(files.path / TIMINGS)
        self._earlier_seconds = timings[-1]["seconds"] if timings else 0.0
        self._started = time.perf_counter()
        self._window_updates, self._window_seconds = 0, 0.0
        self._chunk, self._compiled, self._rate = 1, False, 0.0

    def run(self, *, progress: bool) -> Run:
        """Trains to the last step.

        Raises:
            Interrupted: If a signal asked to stop; everything is saved.
            Diverged: If a metric or a parameter is no longer finite.
        """
        config = self._config
        with (
            self._evaluator or contextlib.nullcontext(),
            ProgressDisplay(config.steps, start=self._step, bar=progress) as display,
            interruptions() as stop,
        ):
            while True:
                self._between_updates(display, stop)
                if stop.requested:
                    raise Interrupted(self._files.path, self._step)
                if self._step == config.steps:
                    return Run(self._files.path, config, self._step, self._carry.state)
                self._advance()
                display.update(self._step, self._rate)

    def _between_updates(self, display: ProgressDisplay, stop: StopRequest) -> None:
        """Logs, evaluates and saves what is due at this step and not done yet."""
        schedule = self._config.schedule
        if self._is_due(schedule.log_interval) and self._logged_step < self._step:
            self._log()
            display.log(self._step, self._rate)
        try:
            if self._is_due(schedule.evaluation_interval) and self._evaluated_step < self._step:
                self._evaluate(display, stop)
        finally:
            # Also if the evaluation fails: training must not be lost to a simulator's fault.
            if self._is_due(schedule.checkpoint_interval) or stop.requested:
                self._save()

    def _is_due(self, interval: int) -> bool:
        return self._step > 0 and (self._step % interval == 0 or self._step == self._config.steps)

    def _advance(self) -> None:
        """One dispatch: up to the next step at which something is due, or about a second."""
        schedule = self._config.schedule
        intervals = [schedule.log_interval, schedule.checkpoint_interval]
        if self._evaluator is not None:
            intervals.append(schedule.evaluation_interval)
        stops = [(self._step // interval + 1) * interval for interval in intervals]
        last = min(self._step + self._chunk, self._config.steps, *stops)
        started = time.perf_counter()
        self._carry = jax.block_until_ready(self._program.advance(self._carry, self._step, last))
        seconds = time.perf_counter() - started
        if self._compiled:
            self._rate = (last - self._step) / seconds
            self._chunk = max(1, int(self._rate * _DISPATCH_SECONDS))
            self._window_updates += last - self._step
            self._window_seconds += seconds
        self._compiled = True
        self._step = last
        self._check_metrics()

    def _window_start(self) -> int:
        """The step after which the sums of the metrics began."""
        return (self._step - 1) // self._interval * self._interval

    def _check_metrics(self) -> None:
        for name, sums in sorted(jax.device_get(self._carry.metric_sums).items()):
            for seed, total in zip(self._config.seeds, sums, strict=True):
                if not math.isfinite(total):
                    window = f"between updates {self._window_start()} and {self._step}"
                    raise self._diverged(f"Metric {name} of seed {seed} became {total} {window}")

    def _diverged(self, fact: str) -> Diverged:
        saved = checkpoint_paths(self._files.checkpoints)
        return Diverged(
            f"{fact}. Last good checkpoint: {saved[-1] if saved else 'none'}. Going on from there "
            "leads here again: train anew with a smaller learning rate, or check the data's scale."
        )

    def _log(self) -> None:
        count = self._step - self._window_start()
        means = {
            name: sums.astype(np.float64) / count
            for name, sums in sorted(jax.device_get(self._carry.metric_sums).items())
        }
        rows = [
            {"step": self._step, "seed": seed}
            | {name: float(values[index]) for name, values in means.items()}
            for index, seed in enumerate(self._config.seeds)
        ]
        timing = {
            "step": self._step,
            "seconds": self._earlier_seconds + time.perf_counter() - self._started,
            "updates_per_second": self._window_updates / max(self._window_seconds, 1e-9),
        }
        self._files.append(METRICS, rows)
        self._files.append(TIMINGS, [timing])
        self._window_updates, self._window_seconds = 0, 0.0
        self._logged_step = self._step

    def _evaluate(self, display: ProgressDisplay, stop: StopRequest) -> None:
        """Evaluates every policy of every seed, unless a signal comes between."""
        if self._evaluator is None:
            return
        acts = {self._config.algorithm: self._algorithm.act}
        if self._config.schedule.evaluate_bc:
            acts["bc"] = self._algorithm.act_behaviour  # pyright: ignore[reportAttributeAccessIssue]
        rows: list[dict[str, Any]] = []
        for index, seed in enumerate(self._config.seeds):
            state = state_at(self._carry.state, index)
            for name, act in acts.items():
                result = self._evaluator.evaluate(
                    make_policy(act, self._config.config, state),
                    episodes=self._config.schedule.evaluation_episodes,
                    seed=_evaluation_seed(seed, self._step),
                    should_stop=stop,
                )
                if result is None:
                    return
                rows.append({"step": self._step, "seed": seed, "policy": name, **result.summary()})
        self._files.append(EVALUATIONS, rows)
        self._evaluated_step = self._step
        own = [row for row in rows if row["policy"] == self._config.algorithm]
        figure = "success" if "success" in own[0] else "return"
        display.note(f"{figure} {np.mean([row[figure] for row in own]):.3g}")

    def _save(self) -> None:
        if self._saved_step == self._step:
            return
        state = jax.device_get(self._carry.state)
        for name, leaf in named_leaves(state).items():
            finite = np.isfinite(leaf).reshape(len(self._config.seeds), -1).all(axis=1)
            if not finite.all():
                seed = self._config.seeds[int(np.argmin(finite))]
                raise self._diverged(f"{name} of seed {seed} is not finite at step {self._step}")
        sums = {name: sums.tolist() for name, sums in self._carry.metric_sums.items()}
        save_checkpoint(
            self._files.checkpoints,
            self._step,
            state,
            details={"metric_sums": sums},
            keep=self._config.schedule.keep,
        )
        self._saved_step = self._step


def _restore(carry: Carry, checkpoint: Checkpoint) -> Carry:
    """The carry with the checkpoint's sums of metrics.

    JSON holds them exactly: it spells out every bit of a float.
    """
    sums = checkpoint.details.get("metric_sums")
    if not isinstance(sums, dict) or sums.keys() != carry.metric_sums.keys():
        raise ValueError(
            f"{checkpoint.path} does not fit this run: it has other metrics "
            f"than {', '.join(carry.metric_sums)}. It was saved by another version of floq."
        )
    restored = {name: jnp.array(sums[name], jnp.float32) for name in carry.metric_sums}
    return Carry(carry.state, restored)


def _evaluation_seed(seed: int, step: int) -> int:
    """Other episodes for every seed and step, so that their mean counts them all."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0] >> 1)
