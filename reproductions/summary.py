"""What all calls so far come to: a row for each run, and the points of its curves.

Runs may be lost with the machine that trained them. Their rows are then taken from the summary that
lies in the folder of the results already.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.paths import dataset_name
from floq.disk import read_json
from floq.intervals import success_interval
from floq.presets.published import published_success
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import read_versions
from floq.runs.results import Result, results, timing
from reproductions.calls import recorded_calls
from reproductions.jobs import Data, Job, Settings, Training, config_of, is_done, recorded_run

SUMMARY, CURVES = "summary.json", "curves.csv"
CURVE_COLUMNS = ("job", "task", "method", "integration_steps", "step", "seed", "episodes",
                 "success", "return", "length")  # fmt: skip
_TASKS = 5
_MILLION = 1_000_000

Row = dict[str, Any]


def done_elsewhere(settings: Settings, folder: Path) -> list[str]:
    """Names of the runs that the earlier summary has in full, with these settings."""
    wanted = settings.wanted()
    return [row["job"] for row in _earlier(folder)[0] if row["settings"] == wanted and row["done"]]


def summarise(jobs: Sequence[Job], settings: Settings, folder: Path) -> tuple[Row, list[Row]]:
    """The summary, JSON-able, and the points of all curves.

    Args:
        jobs: The whole list.
        settings: What the jobs share.
        folder: Of the results, with those of earlier machines.
    """
    earlier, earlier_calls = _earlier(folder)
    calls = {
        call["started"]: call for call in [*earlier_calls, *recorded_calls(settings.directory)]
    }
    before = {row["job"]: row for row in earlier}
    before_points = _read_curves(folder / CURVES)
    rows, points = [], []
    for job in jobs:
        if isinstance(job, Data):
            continue
        row, own = _row(job, settings)
        known = before.get(job.name)
        if known and (row is None or _goes_further(known, row)):
            row, own = known, [point for point in before_points if point["job"] == job.name]
        if row is None:
            continue
        shares = [call for call in calls.values() if call["job"] == job.name]
        rows.append(row | _costs(shares))
        points += own
    # `sum` starts from the whole number 0.
    seconds = float(sum(call["seconds"] for call in calls.values()))
    summary = {
        "rows": rows,
        "means": _means(rows),
        "pairs": _pairs(points),
        "left": [job.name for job in jobs if not _is_finished(job, rows, settings)],
        "minutes": round(seconds / 60, 2),
        "calls": [calls[started] for started in sorted(calls)],
    }
    return summary, points


def _is_finished(job: Job, rows: Sequence[Row], settings: Settings) -> bool:
    return is_done(job, settings) or any(row["job"] == job.name and row["done"] for row in rows)


def _goes_further(known: Row, row: Row) -> bool:
    return known["settings"] == row["settings"] and known["updates"] > row["updates"]


def _earlier(folder: Path) -> tuple[list[Row], list[Row]]:
    """Rows and calls of the summary that is there already."""
    try:
        summary = read_json(folder / SUMMARY)
        return summary["rows"], summary["calls"]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return [], []


def _row(job: Training, settings: Settings) -> tuple[Row | None, list[Row]]:
    """A run's row and points, if there is a run."""
    run = recorded_run(job, settings)
    if run is None:
        return None, []
    found = results(run).get(run.config.algorithm, [])
    saved = checkpoint_paths(run.directory / "checkpoints")
    critic = getattr(config_of(job, settings), "critic", None)
    row = {
        "job": job.name,
        "task": job.task,
        "method": job.method,
        "integration_steps": getattr(critic, "integration_steps", None),
        "settings": settings.wanted() | {"seeds": list(run.config.seeds)},
        "done": is_done(job, settings),
        "updates": int(saved[-1].name.removeprefix("step_")) if saved else 0,
        "success": _success(found[-1]) if found else None,
        "published": _published(job.task, job.method, settings.updates),
        "updates_per_second": timing(run)[1],
        "versions": read_versions(run.directory),
    }
    shared = {name: row[name] for name in ("job", "task", "method", "integration_steps")}
    points = [
        {
            **shared,
            **{name: point[name] for name in CURVE_COLUMNS if name in point},
        }
        for point in run.evaluations
    ]
    return row, points


def _success(result: Result) -> Row:
    return {
        "step": result.step,
        "mean": result.interval.mean,
        "interval": [result.interval.low, result.interval.high],
        "per_seed": list(result.per_seed),
        "episodes": result.episodes,
    }


def _published(task: str, method: str, updates: int) -> float | None:
    """The published figure; FQL has one after a million updates too."""
    column = "fql-1m" if method == "fql" and updates <= _MILLION else method
    return published_success(task, column)


def _costs(shares: Sequence[Row]) -> Row:
    peaks = [call["peak_memory_bytes"] for call in shares if call["peak_memory_bytes"] is not None]
    return {
        "minutes": round(sum(call["seconds"] for call in shares) / 60, 2),
        "peak_memory_bytes": max(peaks, default=None),
        "failure": shares[-1]["failure"] if shares else None,
    }


def _means(rows: Sequence[Row]) -> list[Row]:
    """The mean over the five tasks of a dataset, for each method that has finished them all."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["done"] and "-k" not in row["job"].rpartition("-task")[2]:
            groups.setdefault((dataset_name(row["task"]), row["method"]), []).append(row)
    means = []
    for (dataset, method), own in groups.items():
        if len(own) < _TASKS or len({tuple(row["settings"]["seeds"]) for row in own}) > 1:
            continue
        per_seed = np.mean([row["success"]["per_seed"] for row in own], axis=0)
        interval = success_interval(per_seed.tolist(), _TASKS * own[0]["success"]["episodes"])
        updates = min(row["success"]["step"] for row in own)
        means.append(
            {
                "dataset": dataset,
                "method": method,
                "updates": updates,
                "mean": interval.mean,
                "interval": [interval.low, interval.high],
                "per_seed": per_seed.tolist(),
                "published": _published(dataset, method, updates),
            }
        )
    return means


def _pairs(points: Sequence[Row]) -> list[Row]:
    """Every group of runs of a task at the last updates at which all of them were evaluated."""
    pairs = []
    for task in dict.fromkeys(point["task"] for point in points):
        runs = curves_of([point for point in points if point["task"] == task])
        shared = set.intersection(*(set(curve) for curve in runs.values()))
        if len(runs) < 2 or not shared:
            continue
        step = max(shared)
        for job, curve in runs.items():
            interval = success_interval(*curve[step])
            pairs.append(
                {
                    "task": task,
                    "job": job,
                    "step": step,
                    "mean": interval.mean,
                    "interval": [interval.low, interval.high],
                }
            )
    return pairs


def curves_of(
    points: Sequence[Mapping[str, Any]],
) -> dict[str, dict[int, tuple[list[float], int]]]:
    """Success of each seed, and the episodes of each, by job and updates."""
    curves: dict[str, dict[int, tuple[list[float], int]]] = {}
    for point in points:
        rates, _ = curves.setdefault(point["job"], {}).setdefault(
            int(point["step"]), ([], int(point["episodes"]))
        )
        rates.append(float(point["success"]))
    # A process that was killed leaves steps that lack seeds.
    return {
        job: {step: found for step, found in curve.items() if len(found[0]) == _seeds(curve)}
        for job, curve in curves.items()
    }


def _seeds(curve: Mapping[int, tuple[list[float], int]]) -> int:
    return max(len(rates) for rates, _ in curve.values())


def _read_curves(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
