"""What a worker does: one run, from wherever it stands to its end.

Only a line of JSON reaches a worker, and only a line of text comes back: the rest lies in the run's
directory.
"""

import json
import os
import time
from pathlib import Path

from floq.algorithms import find_algorithm
from floq.data.goals import Goals
from floq.envs.make import spec_of
from floq.plugins import import_plugins, imported_plugins
from floq.runs.directory import CONFIG
from floq.runs.locks import HeldFolder
from floq.settings import from_json, to_json
from floq.sweeps.own_data import OwnData
from floq.sweeps.plan import PlannedRun
from floq.tasks import load_task
from floq.training import Interrupted, Schedule, resume, train
from floq.training.signals import stopped_at

_PATIENCE = 120.0
"""Seconds to wait for a worker of a killed sweep to end: it notices within seconds."""


def describe_job(
    directory: Path,
    run: PlannedRun,
    *,
    data: Path,
    cpus: float,
    gpus: float,
    deadline: float | None = None,
) -> str:
    """All that a worker needs to know, as one line of JSON.

    Args:
        directory: The sweep's folder, which every machine sees under this name.
        run: The run.
        data: Folder of the dataset files, likewise.
        cpus: The run's share of cores.
        gpus: Its share of GPUs.
        deadline: When the run must save and stop, in seconds since the epoch; None never.
    """
    return json.dumps(
        {
            "directory": str(directory / run.name),
            "data": str(data),
            "task": run.task,
            "reward": run.reward,
            "goals": to_json(run.goals),
            "own": to_json(run.data),
            "algorithm": run.algorithm,
            "config": to_json(run.config),
            "seeds": list(run.seeds),
            "steps": run.steps,
            "schedule": to_json(run.schedule),
            "cpus": cpus,
            "gpus": gpus,
            "plugins": imported_plugins(),
            "deadline": deadline,
        }
    )


def do_job(text: str) -> str:
    """Starts a run or goes on with it, until it is finished.

    Args:
        text: A job of `describe_job`.

    Returns:
        Nothing if the run is finished, or saved because its time is over, else why it cannot be. A
        lost worker returns nothing at all: such a job is done again.
    """
    job = json.loads(text)
    import_plugins(job["plugins"])
    _keep_to_share(job["cpus"], job["gpus"])
    started = time.monotonic()
    while True:
        try:
            with stopped_at(job["deadline"]):
                _train(job)
        except Interrupted:
            return ""
        except HeldFolder as error:
            if time.monotonic() - started > _PATIENCE:
                return str(error)
            time.sleep(0.5)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        else:
            return ""


def _train(job: dict) -> None:
    directory = Path(job["directory"])
    task = goals = None
    if job["own"] is None:
        task, is_normalized = job["task"], False
        goals = from_json(Goals | None, job["goals"])
        dataset, built = load_task(
            task, directory=Path(job["data"]), reward=job["reward"], goals=goals
        )
        env = spec_of(built)
        built.close()
    else:
        own = from_json(OwnData, job["own"])
        env, dataset = own.env and spec_of(own.env), own.file
        is_normalized = own.normalize_observations
    # With one core, worker processes beside the policy's would only take turns with it.
    processes = int(job["cpus"]) if job["cpus"] >= 2 else 0
    if (directory / CONFIG).exists():
        resume(directory, dataset=dataset, steps=job["steps"], processes=processes, progress=False)
        return
    train(
        from_json(find_algorithm(job["algorithm"]).Config, job["config"]),
        dataset,
        env=env,
        task=task,
        goals=goals,
        seeds=job["seeds"],
        steps=job["steps"],
        directory=directory,
        schedule=from_json(Schedule, job["schedule"]),
        processes=processes,
        progress=False,
        normalize_observations=is_normalized,
    )


def _keep_to_share(cpus: float, gpus: float) -> None:
    """Keeps jax to the run's share of the machine; it reads these when it first computes."""
    os.environ.setdefault("NPROC", str(max(int(cpus), 1)))
    if 0 < gpus < 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * gpus:.3f}")
