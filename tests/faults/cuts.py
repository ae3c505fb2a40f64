"""Processes that are killed or asked to stop, and runs that go on afterwards."""

import contextlib
import functools
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.faults.programs import Process, Programs, announced, end_of, hold_same_end
from tests.faults.trials import Row, Trial, hold

_ENDLESS = [
    *"--steps 100000000 --log-interval 500 --evaluation-interval 100000000".split(),
    *"--evaluation-episodes 1 --checkpoint-interval 100".split(),
]
_OFFLINE = [
    *"--steps 6000 --log-interval 500 --evaluation-interval 2000".split(),
    *"--evaluation-episodes 1 --checkpoint-interval 700 --seeds 3 5".split(),
]
_OFFLINE_STEPS, _ONLINE_STEPS = 100, 900
_ONLINE = [
    *f"--offline-steps {_OFFLINE_STEPS} --online-steps {_ONLINE_STEPS} --environments 2".split(),
    *"--updates-per-step 1.5 --warmup 100 --log-interval 500 --evaluation-interval 5000".split(),
    *"--evaluation-episodes 1 --checkpoint-interval 60 --seeds 3 5".split(),
]
_GRACE = 10.0
"""Seconds between a signal and the end."""

Cut = Callable[[Process, Path, np.random.Generator], None]
"""Waits for the moment at which a run is to be cut."""


@contextlib.contextmanager
def _kills(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    """One run that is killed again and again; each start must go on from what was announced."""
    programs, run = Programs(folder), folder / "run"
    last = -1

    def trial(random: np.random.Generator) -> None:
        nonlocal last
        started = (run / "config.json").exists()
        words = ["resume", str(run)] if started else programs.train(run, *_ENDLESS)
        process = programs.start(*words)
        if random.random() < 0.25:
            # At any time, also while modules are imported.
            time.sleep(random.uniform(0, 4))
        elif process.until(lambda: announced(run) > last):
            time.sleep(random.uniform(0, 0.3))
        before, last = last, announced(run)
        hold(process.running(), f"it ended by itself: {process.said()}")
        process.kill()
        _hold_goes_on_from(process.said(), before)

    def last_trial(random: np.random.Generator) -> None:
        trial(random)
        if (run / "config.json").exists():
            said = programs.run("resume", str(run), "--steps", str(announced(run) + 1000))
            _hold_goes_on_from(said, last)

    yield [*[trial] * (wanted - 1), last_trial]


def _hold_goes_on_from(said: str, least: int) -> None:
    """If a process got as far as to say where it goes on, it is no earlier than `least`."""
    hold("Damaged" not in said, f"a checkpoint was damaged: {said}")
    found = re.search(r"goes on at step ([\d,]+)", said)
    if found:
        step = int(found[1].replace(",", ""))
        hold(step >= least, f"step {least} was announced, and it went on from step {step}")


def _cut_offline(process: Process, run: Path, random: np.random.Generator) -> None:
    """Waits for some time of what the updates and the evaluations take."""
    process.until((run / "config.json").exists)
    # As long as these take, after the time that compiling takes.
    time.sleep(random.uniform(0.5, 4))


def _cut_online(process: Process, run: Path, random: np.random.Generator) -> None:
    """Waits for a random step of the online phase, and for some time of those that follow."""
    step = _OFFLINE_STEPS + random.uniform(0, _ONLINE_STEPS - 60)
    process.until(lambda: announced(run) >= step)
    time.sleep(random.uniform(0, 0.1))
    hold(process.running(), f"it ended before it was cut: {process.said()}")


@contextlib.contextmanager
def _resumed(
    words: Sequence[str], cut: Cut, folder: Path, wanted: int
) -> Iterator[Sequence[Trial]]:
    programs, uncut, run = Programs(folder), folder / "uncut", folder / "run"
    programs.run(*programs.train(uncut, *words))
    expected = end_of(uncut)

    def trial(random: np.random.Generator) -> None:
        shutil.rmtree(run, ignore_errors=True)
        process = programs.start(*programs.train(run, *words))
        cut(process, run, random)
        process.send(signal.SIGKILL if random.random() < 0.5 else signal.SIGTERM)
        process.wait()
        if (run / "config.json").exists():
            programs.run("resume", str(run))
        else:
            programs.run(*programs.train(run, *words))
        hold_same_end(run, expected)

    yield [trial] * wanted


@contextlib.contextmanager
def _signals(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    programs, run = Programs(folder), folder / "run"

    def trial(random: np.random.Generator) -> Mapping[str, float]:
        if random.random() < 0.2:
            shutil.rmtree(run, ignore_errors=True)
        started = (run / "config.json").exists()
        words = ["resume", str(run)] if started else programs.train(run, *_ENDLESS)
        process = programs.start(*words)
        number = random.choice([signal.SIGTERM, signal.SIGINT])
        # From the first moment at which floq's own code runs.
        process.until(lambda: process.catches(signal.SIGTERM))
        time.sleep(random.uniform(0, 5))
        before, sent = announced(run), time.monotonic()
        process.send(number)
        status = process.wait()
        seconds = time.monotonic() - sent
        said, after = process.said(), announced(run)
        hold(status == 75, f"exit status {status} in place of 75: {said}")
        hold(seconds <= _GRACE, f"it took {seconds:.1f} s to stop")
        hold("Traceback" not in said, said)
        saved = re.search(r"saved at step (\d+)", said)
        if saved:
            hold(int(saved[1]) == after, f"{saved[0]}, and the newest checkpoint is {after}")
        else:
            hold("before the first update" in said, f"it did not say what was saved: {said}")
        hold(after >= before, f"step {before} was saved before the signal, {after} after it")
        return {"seconds to stop": seconds}

    yield [trial] * wanted


ROWS = [
    Row(
        "sigkill",
        "SIGKILL at random times, saving every 100 updates",
        "resumes from a checkpoint at least as new as the last announced one",
        100,
        1,
        _kills,
    ),
    Row(
        "resume-offline",
        "cut at a random step by SIGKILL or SIGTERM, resumed in a new process, offline",
        "SHA-256 of parameters, optimizer, counters and metrics equals the uncut run's",
        20,
        1,
        functools.partial(_resumed, _OFFLINE, _cut_offline),
    ),
    Row(
        "resume-online",
        "cut at a random step by SIGKILL or SIGTERM, resumed in a new process, online",
        "SHA-256 of parameters, optimizer, counters, environments, buffers, metrics and episodes "
        "equals the uncut run's",
        10,
        1,
        functools.partial(_resumed, _ONLINE, _cut_online),
    ),
    Row(
        "signals",
        "SIGTERM and SIGINT at random times",
        "saved, exit status 75, at most 10 s, no step lost",
        50,
        1,
        _signals,
    ),
]
