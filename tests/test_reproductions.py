"""The reproduction's list of jobs: cut, continued, done once, and summed up."""

import csv
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from floq.intervals import success_interval
from floq.training import Interrupted
from reproductions import calls, jobs, ogbench_gpu
from reproductions.calls import Ending
from reproductions.jobs import Data, Settings, Training, work
from reproductions.worker import Report

JOBS = (
    Data("pointmaze-medium-navigate-v0"),
    Training("pointmaze-medium-navigate-singletask-task1-v0", "fql"),
)
RUN = JOBS[1].name
UPDATES = 2_000


def here(job, settings, due):
    """Does a job in this process."""
    try:
        work(job, settings)
    except Interrupted:
        return Ending(True, Report())
    return Ending(False, Report(peak_memory_bytes=2**30))


def arguments(folder: Path) -> list[str]:
    sizes = f"--small --updates {UPDATES} --episodes 2 --evaluation-interval 1000"
    folders = ["--directory", str(folder / "work"), "--results", str(folder / "out")]
    return [*sizes.split(), "--evaluation-episodes", "2", *folders]


def call(folder: Path, launch) -> int:
    return ogbench_gpu.main(arguments(folder), jobs=JOBS, launch=launch)


def refuse(job, settings, due):
    raise AssertionError(f"{job.name} was done already")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A list that was cut in its run by a signal, and then finished by the same call."""
    folder = tmp_path_factory.mktemp("reproduction")
    metrics = folder / "work" / "runs" / RUN / "metrics.jsonl"

    def signal_once_logged():
        while not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=signal_once_logged, daemon=True).start()
    first = call(folder, here)
    cut = json.loads((folder / "out" / "summary.json").read_text())
    second = call(folder, here)
    return folder, (first, cut), second


def summary(folder: Path) -> dict:
    return json.loads((folder / "out" / "summary.json").read_text())


def test_a_cut_list_goes_on(finished):
    """The cut call saves and says what is left; the next one does the rest of the updates."""
    folder, (first, cut), second = finished
    assert (first, second) == (75, 0)
    assert 0 < cut["rows"][0]["updates"] < UPDATES
    assert cut["left"] == [RUN]
    done = summary(folder)
    assert done["rows"][0]["updates"] == UPDATES
    assert done["left"] == []
    assert [entry["job"] for entry in done["calls"]] == [JOBS[0].name, RUN, RUN]


def test_the_summary_is_that_of_the_evaluations(finished):
    """Success by seed, its interval, and the curves, from the rows that the run wrote."""
    folder, *_ = finished
    lines = (folder / "work" / "runs" / RUN / "evaluations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    last = [row["success"] for row in rows if row["step"] == UPDATES]
    row = summary(folder)["rows"][0]
    assert row["success"]["per_seed"] == last
    mean, low, high = success_interval(last, 2)
    assert row["success"]["mean"] == pytest.approx(mean)
    assert row["success"]["interval"] == pytest.approx([low, high])
    assert row["peak_memory_bytes"] == 2**30
    with (folder / "out" / "curves.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert [(int(one["step"]), int(one["seed"])) for one in points] == [
        (row["step"], row["seed"]) for row in rows
    ]
    table = (folder / "out" / "table.md").read_text()
    assert f"| fql | – | 0 1 | {UPDATES:,} |" in table
    assert str(folder) not in table
    assert (folder / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_done_job_is_not_done_again(finished):
    """Neither where its run lies, nor where only the earlier summary has it."""
    folder, *_ = finished
    assert call(folder, refuse) == 0
    hidden = folder / "hidden"
    (folder / "work" / "runs").rename(hidden)
    try:
        before = summary(folder)
        assert call(folder, refuse) == 0
        assert summary(folder)["rows"] == before["rows"]
    finally:
        hidden.rename(folder / "work" / "runs")


def test_a_run_that_cannot_be_read_is_set_aside(finished, tmp_path):
    """It starts anew and nothing is deleted; a sound one stays."""
    folder, *_ = finished
    run = tmp_path / RUN
    shutil.copytree(folder / "work" / "runs" / RUN, run)
    jobs.set_aside_if_damaged(run)
    assert run.exists()
    (run / "config.json").write_text("{")
    jobs.set_aside_if_damaged(run)
    assert not run.exists()
    assert (tmp_path / f"{RUN}.damaged-1" / "checkpoints").is_dir()


def test_a_failed_job_lets_the_next_one_have_its_turn(tmp_path):
    """Its reason is recorded, and the call's status is 1."""
    seen = []

    def launch(job, settings, due):
        seen.append(job.name)
        return Ending(False, Report(failure="no luck"))

    settings = Settings(tmp_path)
    assert calls.work_through(JOBS, settings, seconds=99, command="c", launch=launch) == 1
    assert seen == [job.name for job in JOBS]
    assert [entry["failure"] for entry in calls.recorded_calls(tmp_path)] == ["no luck"] * 2


def test_a_process_collects_data_and_can_be_stopped(tmp_path):
    """Told to stop at once it leaves the job undone; left alone it does it."""
    settings = Settings(tmp_path, episodes=1)
    ending = calls.in_a_process(JOBS[0], settings, lambda passed: True)
    assert ending.stopped
    assert not jobs.is_done(JOBS[0], settings)
    ending = calls.in_a_process(JOBS[0], settings, lambda passed: False)
    assert ending == Ending(False, Report())
    assert jobs.is_done(JOBS[0], settings)


def test_the_list_is_in_order_and_can_be_cut_down():
    """Data first, the default task before the others; folders are left out of the command."""
    names = [job.name for job in ogbench_gpu.JOBS]
    assert names[:3] == [
        "data-cube-double-play", "cube-double-play-task2-floq", "cube-double-play-task2-fql",
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    chosen = ogbench_gpu.select(ogbench_gpu.JOBS, ["*-floq-k*"])
    assert [job.integration_steps for job in chosen] == [1, 4, 16]
    with pytest.raises(ValueError, match="no job is called 'nothing'"):
        ogbench_gpu.select(ogbench_gpu.JOBS, ["nothing"])
    typed = ["--directory", "/a", "--small", "--results=/b"]
    assert ogbench_gpu.command_of(typed) == "python -m reproductions.ogbench_gpu --small"
