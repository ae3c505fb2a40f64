"""The training loop: drives a phase, and does what is due between its steps."""

import math
import time
from collections.abc import Collection, Sequence
from typing import Any, Literal

import jax
import numpy as np

from floq.envs.vector import WorkerError
from floq.evaluation import Evaluator
from floq.interrupted import Interrupted
from floq.networks.modules import named_leaves
from floq.progress import ProgressDisplay
from floq.runs.checkpoint import checkpoint_paths, save_checkpoint
from floq.runs.directory import (
    EVALUATIONS,
    METRICS,
    TIMINGS,
    RunConfig,
    RunDirectory,
    read_rows,
)
from floq.runs.run import Run, make_policy, state_at
from floq.training.callbacks import Callback, Event
from floq.training.hosts import from_all, on_first
from floq.training.offline_phase import OfflinePhase
from floq.training.online_phase import NothingToLearn, OnlinePhase
from floq.training.signals import StopRequest

Phase = OfflinePhase | OnlinePhase
"""A part of a run: what its steps are is its own business."""


class Diverged(RuntimeError):  # noqa: N818 - what happened, not an error of the program
    """A metric or a parameter is no longer finite; nothing of it was saved."""


class Loop:
    """One process's share of a phase: up to its last step, or to a signal."""

    def __init__(
        self,
        files: RunDirectory,
        config: RunConfig,
        phase: Phase,
        evaluator: Evaluator | None,
        *,
        done: Collection[str],
        is_saved: bool,
        callbacks: Sequence[Callback],
    ):
        """Prepares to go on where the phase is.

        Args:
            files: The run's directory.
            config: What to do.
            phase: What makes the steps.
            evaluator: What evaluates; None where this process does not.
            done: Files that have their rows of the phase's present step already.
            is_saved: Whether there is a checkpoint of that step.
            callbacks: Told of every log, evaluation and checkpoint.
        """
        self._files, self._config, self._phase = files, config, phase
        self._algorithm = config.rule
        self._evaluator, self._callbacks = evaluator, callbacks
        self._saved_step = phase.step if is_saved else -1
        self._logged_step = phase.step if METRICS in done else -1
        self._evaluated_step = phase.step if EVALUATIONS in done else -1
        timings = read_rows(files.path / TIMINGS)
        self._earlier_seconds = timings[-1]["seconds"] if timings else 0.0
        self._started = time.perf_counter()

    def run(self, display: ProgressDisplay, stop: StopRequest) -> None:
        """Goes to the phase's last step.

        Raises:
            Interrupted: If a signal asked to stop; everything is saved.
            Diverged: If a metric or a parameter is no longer finite.
            WorkerError: If an environment failed; everything before is saved.
            OSError: If data cannot be read any more; likewise.
            NothingToLearn: If no update can come of the steps; everything before is saved.
            MemoryError: If an update takes more than there is.
        """
        phase = self._phase
        while True:
            if self._between_steps(display, stop):
                has_data = not self._config.needs_dataset
                raise Interrupted(self._files.path, phase.step, has_data=has_data)
            if phase.step == phase.last:
                return
            try:
                phase.advance(self._next_due(), stop)
            except (WorkerError, NothingToLearn, OSError):
                self._save()
                raise
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                raise self._too_large(error) from error
            self._check_metrics()
            display.update(phase.step, phase.rate)

    def _between_steps(self, display: ProgressDisplay, stop: StopRequest) -> bool:
        """Logs, evaluates and saves what is due at this step and not done yet.

        Returns:
            Whether a signal asked to stop, which is saved then.
        """
        schedule, step = self._config.schedule, self._phase.step
        if self._is_due(schedule.log_interval) and self._logged_step < step:
            self._log()
            if self._files.writes:
                display.log(step, self._phase.rate)
        try:
            if self._is_due(schedule.evaluation_interval) and self._evaluated_step < step:
                self._evaluate(display, stop)
        finally:
            # Also if the evaluation fails: training must not be lost to a simulator's fault.
            # Processes that train together stop at the same step, whichever got the signal.
            is_stopping = any(from_all(stop.requested))
            if self._is_due(schedule.checkpoint_interval) or is_stopping:
                self._save()
        return is_stopping

    def _is_due(self, interval: int) -> bool:
        """Whether the phase has come to, or just past, a multiple of the interval, or to its end.

        At the very first step of an online phase the offline one has done all that was due.
        """
        phase = self._phase
        if phase.step == phase.first:
            return False
        return phase.step % interval < phase.stride or phase.step == phase.last

    def _next_due(self) -> int:
        """The next step at which something is due."""
        schedule = self._config.schedule
        intervals = [schedule.log_interval, schedule.checkpoint_interval]
        if self._config.environment is not None:
            intervals.append(schedule.evaluation_interval)
        stops = [(self._phase.step // interval + 1) * interval for interval in intervals]
        return min(self._phase.last, *stops)

    def _check_metrics(self) -> None:
        window = self._phase.window()
        for name, sums in sorted(window.sums.items()):
            for seed, total in zip(self._config.seeds, sums, strict=True):
                if not math.isfinite(total):
                    raise self._diverged(
                        f"Metric {name} of seed {seed} became {total} between updates "
                        f"{window.first} and {window.last}"
                    )

    def _diverged(self, fact: str) -> Diverged:
        saved = checkpoint_paths(self._files.checkpoints)
        return Diverged(
            f"{fact}. Last good checkpoint: {saved[-1] if saved else 'none'}. Going on from there "
            "leads here again: train anew with a smaller learning rate, or check the data's scale."
        )

    def _too_large(self, error: RuntimeError) -> MemoryError:
        seeds = len(self._config.seeds)
        return MemoryError(
            f"The updates of {seeds} seeds with a batch_size of {self._config.config.batch_size} "
            f"take more memory than there is ({str(error).splitlines()[0]}). Train anew with a "
            "smaller batch, fewer seeds side by side, or smaller networks."
        )

    def _log(self) -> None:
        step, window = self._phase.step, self._phase.window()
        means = {
            name: sums.astype(np.float64) / window.updates
            for name, sums in sorted(window.sums.items())
            if window.updates
        }
        rows = [
            {"step": step, "seed": seed}
            | {name: float(values[index]) for name, values in means.items()}
            for index, seed in enumerate(self._config.seeds)
        ]
        timing = {
            "step": step,
            "seconds": self._earlier_seconds + time.perf_counter() - self._started,
            "updates_per_second": window.rate,
        }
        if window.updates:
            self._files.append(METRICS, rows)
            self._files.append(TIMINGS, [timing])
        else:
            rows = []
        self._phase.start_window()
        self._append_rows()
        self._logged_step = step
        self._tell("log", rows)

    def _append_rows(self) -> None:
        for name, rows in self._phase.take_rows().items():
            self._files.append(name, rows)

    def _evaluate(self, display: ProgressDisplay, stop: StopRequest) -> None:
        """Evaluates every policy of every seed, unless a signal comes between."""
        if self._config.environment is None:
            return
        states = self._phase.state()
        rows = on_first(lambda: self._evaluation_rows(states, display, stop))
        # Only the first process has rows; the others must still come to the telling with it.
        if any(from_all(self._files.writes and rows is None)):
            return
        self._evaluated_step = self._phase.step
        if rows:
            self._files.append(EVALUATIONS, rows)
            own = [row for row in rows if row["policy"] == self._config.algorithm]
            figure = "success" if "success" in own[0] else "return"
            display.note(f"{figure} {np.mean([row[figure] for row in own]):,.2f}")
        self._tell("evaluation", rows or [])

    def _evaluation_rows(
        self, states: Any, display: ProgressDisplay, stop: StopRequest
    ) -> list[dict[str, Any]] | None:
        """A row for every policy of every seed; None if a signal came between."""
        assert self._evaluator is not None
        acts = {self._config.algorithm: self._algorithm.act}
        if self._config.schedule.evaluate_bc:
            acts["bc"] = self._algorithm.act_behaviour  # pyright: ignore[reportAttributeAccessIssue]
        rows: list[dict[str, Any]] = []
        step = self._phase.step
        for index, seed in enumerate(self._config.seeds):
            state = state_at(states, index)
            for name, act in acts.items():
                result = self._evaluator.evaluate(
                    make_policy(act, self._config.config, state),
                    episodes=self._config.schedule.evaluation_episodes,
                    seed=_evaluation_seed(seed, step),
                    should_stop=stop,
                    display=display,
                )
                if result is None:
                    return None
                rows.append({"step": step, "seed": seed, "policy": name, **result.summary()})
        return rows

    def _save(self) -> None:
        if self._saved_step < self._phase.step:
            self._write_checkpoint()
            self._tell("checkpoint", [])

    def _write_checkpoint(self) -> None:
        step = self._phase.step
        state = jax.device_get(self._phase.state())
        for name, leaf in named_leaves(state).items():
            finite = np.isfinite(leaf).reshape(len(self._config.seeds), -1).all(axis=1)
            if not finite.all():
                seed = self._config.seeds[int(np.argmin(finite))]
                raise self._diverged(f"{name} of seed {seed} is not finite at step {step}")
        self._append_rows()
        snapshot = self._phase.snapshot()
        if self._files.writes:
            save_checkpoint(
                self._files.checkpoints,
                step,
                state,
                details=snapshot.details,
                keep=self._config.schedule.keep,
                extra=snapshot.extra,
                shards=snapshot.shards,
            )
        self._saved_step = step

    def _tell(self, kind: Literal["log", "evaluation", "checkpoint"], rows: list[Any]) -> None:
        """Tells the callbacks, in the process that writes; what one raises loses nothing."""
        if not self._callbacks:
            return
        # On the host, since the next updates overwrite what is on the device.
        state, step = jax.device_get(self._phase.state()), self._phase.step
        event = Event(kind, step, rows, Run(self._files.path, self._config, step, state))
        try:
            on_first(lambda: [callback(event) for callback in self._callbacks])
        except BaseException:
            if self._saved_step < step:
                self._write_checkpoint()  # Told to nobody: the exception is what counts now.
            raise


def _evaluation_seed(seed: int, step: int) -> int:
    """Other episodes for every seed and step, so that their mean counts them all."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0] >> 1)
