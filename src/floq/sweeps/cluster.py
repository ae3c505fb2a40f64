"""Runs on a Ray cluster: this machine's own, or one that is there already.

Ray Tune places the runs, starts a worker for each, and starts another where one is lost. What is
finished, begun or left is read from the run directories; what Ray itself writes is thrown away.
"""

import contextlib
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from floq.extras import require_extra
from floq.sweeps.job import describe_job, do_job
from floq.sweeps.plan import PlannedRun
from floq.sweeps.queue import Queue
from floq.sweeps.spec import Resources
from floq.workers import available_cores, handled, stop_signals

_SCRATCH = ".ray"

# Read by Ray when it is imported. Without a cluster of several machines nothing needs to be reached
# from outside: Ray's servers then listen on the loopback address alone (the variable is named after
# the systems where this is the default).
_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def run_all(
    queue: Queue,
    directory: Path,
    *,
    data: Path,
    resources: Resources,
    address: str | None,
    deadline: float | None,
    note: Callable[[PlannedRun, str], None],
) -> None:
    """Does every run that the queue hands out.

    Args:
        queue: The runs.
        directory: The sweep's folder.
        data: Folder of the dataset files.
        resources: What each run takes.
        address: An existing cluster's; None starts one on this machine that ends with the call.
        deadline: When to save and stop, in seconds since the epoch; None when all is done.
        note: Called when a run has ended, with the reason if it failed.

    Raises:
        RuntimeError: If Ray is not installed, or the cluster cannot hold a run.
        KeyboardInterrupt: If a signal asked to stop.
    """
    ray = _ray(_QUIET if address else _QUIET | _LOCAL)
    scratch = directory / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    with _stopped_by_signals(), _connected(ray, address):
        gpus = _gpus(ray, resources)
        _refuse_too_large(ray, resources.cpus, gpus)
        searcher = _searcher(
            queue,
            lambda run: describe_job(
                directory.absolute(),
                run,
                data=data.absolute(),
                cpus=resources.cpus,
                gpus=gpus,
                deadline=deadline,
            ),
            note,
            deadline,
        )
        tune = ray.tune
        tuner = tune.Tuner(
            tune.with_resources(_trainable, {"cpu": resources.cpus, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=uuid.uuid4().hex,
                storage_path=str(scratch.absolute()),
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _trainable(config: dict[str, str]) -> dict[str, str]:
    """What Ray sends to a worker, by its name."""
    return {"failure": do_job(config["job"])}


def _ray(environment: dict[str, str]) -> Any:
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    require_extra("sweep")
    import ray  # pyright: ignore[reportMissingImports] - an extra
    import ray.tune  # pyright: ignore[reportMissingImports]

    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        # "local", since $RAY_ADDRESS must not lead elsewhere.
        ray.init("local", num_cpus=available_cores(), include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError) as error:
            raise RuntimeError(
                f"No Ray cluster answers at {address}: {error}. One that asks for a token answers "
                "only if RAY_AUTH_MODE=token is set here, too."
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _stopped_by_signals() -> contextlib.AbstractContextManager[None]:
    """Lets the signals by which schedulers and lost connections end a job do as Ctrl-C does."""
    others = [number for number in stop_signals() if number != signal.SIGINT]
    return handled(signal.default_int_handler, others)


def _gpus(ray: Any, resources: Resources) -> float:
    if resources.gpus is not None:
        return float(resources.gpus)
    return 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def _refuse_too_large(ray: Any, cpus: float, gpus: float) -> None:
    """Refuses runs that no machine of the cluster can hold: Ray would wait for one for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        return
    have = "; ".join(f"{node.get('CPU', 0):g} cores, {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise RuntimeError(
        f"A run takes cpus = {cpus:g} and gpus = {gpus:g}, which no machine of the cluster has "
        f"({have}): lower them under [resources], or add a machine."
    )


def _searcher(
    queue: Queue,
    describe: Callable[[PlannedRun], str],
    note: Callable[[PlannedRun, str], None],
    deadline: float | None,
) -> Any:
    """The queue in the form that Ray Tune asks for work."""
    from ray.tune.search import Searcher  # pyright: ignore[reportMissingImports]

    class QueueSearcher(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="failure", mode="min")
            self.running: dict[str, PlannedRun] = {}

        def suggest(self, trial_id: str) -> Any:
            is_over = deadline is not None and time.time() >= deadline
            run = None if is_over else queue.next()
            if run is None:
                # Another may come when one that is running ends.
                return None if self.running else Searcher.FINISHED
            self.running[trial_id] = run
            return {"job": describe(run)}

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            run = self.running.pop(trial_id)
            failure = "" if result is None else result.get("failure", "")
            if error or result is None:
                failure = "its worker was lost again and again (out of memory?)"
            queue.ended(run.name, failure or None)
            note(run, failure)

        def set_search_properties(self, *_: Any, **__: Any) -> bool:
            return True

        def save_to_dir(self, *_: Any, **__: Any) -> None:
            """Saves nothing: the run directories are the state."""

        def restore_from_dir(self, *_: Any, **__: Any) -> None:
            """Nothing was saved."""

        def save(self, *_: Any) -> None:
            """Saves nothing."""

        def restore(self, *_: Any) -> None:
            """Nothing was saved."""

    return QueueSearcher()
