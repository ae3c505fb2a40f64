"""Many copies of one environment, stepped side by side in worker processes."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Sizes, Slots, Steps
from floq.envs.worker import FAILURE, HEADER, RESET, START, STEP, frame, unpack_steps
from floq.workers import require_posix

# A worker is one of many and steps one environment at a time: threads in it get in the way.
_CLOSING_SECONDS = 5.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """An environment raised, hung, gave something that is not finite, or its process died."""


class VectorEnvironment:
    """Slots that each hold one copy of an environment, spread over worker processes.

    What an episode sees depends on its seed and its actions only: not on the number of slots or
    processes, on what a slot did before, or on the state of numpy's global generator.

    Use it as a context manager, or call `close`. After a `WorkerError` it is closed.

    Attributes:
        count: Number of slots.
        sizes: What an observation and an action look like.
        closed: Whether the workers are gone.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        *,
        count: int,
        processes: int,
        step_timeout: float = 60.0,
        start_timeout: float = 300.0,
    ):
        """Start the workers and build the environments.

        Args:
            spec: The environment.
            count: Number of slots, at least 1.
            processes: Number of worker processes, at most `count`; 0 steps in this process.
            step_timeout: Seconds that a step or a reset of all slots may take. Not watched with
                0 processes.
            start_timeout: Seconds that starting may take.

        Raises:
            ValueError: If `count` or `processes` is out of range.
            WorkerError: If an environment cannot be built.
            RuntimeError: On Windows, with processes.
        """
        if count < 1 or not 0 <= processes <= count:
            raise ValueError(
                f"{processes} processes for {count} environment slots: there must be at least one "
                "slot, and at most as many processes as slots."
            )
        self.count = count
        self.closed = False
        self._step_timeout = step_timeout
        self._owner = np.sort(np.arange(count) % max(processes, 1))
        sizes = np.bincount(self._owner)
        # A slot's number within its own worker.
        self._number = np.concatenate([np.arange(size) for size in sizes])
        self._workers: Sequence[Worker | _InProcess] = []
        try:
            if processes:
                names = [f"worker {i} of {processes}" for i in range(1, processes + 1)]
                self._workers = [Worker(f"{name} for {spec.id!r}") for name in names]
            else:
                self._workers = [_InProcess(spec.id)]
            for worker, size in zip(self._workers, sizes, strict=True):
                worker.start(spec, int(size), 2 * step_timeout)
            deadline = time.monotonic() + start_timeout
            found: list[Sizes] = [worker.started(deadline) for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.sizes = found[0]

    def reset(
        self, slots: np.ndarray, seeds: np.ndarray, goals: np.ndarray | None = None
    ) -> np.ndarray:
        """Start an episode in each of the given slots.

        Args:
            slots: Different numbers of slots, int [batch], at least one.
            seeds: A seed below 2³² for each, [batch].
            goals: The goal of each from 1, or 0 where the environment chooses, [batch]; None for
                0 everywhere.

        Returns:
            The first observations, float32 [batch, obs], or bytes.

        Raises:
            WorkerError: If an environment fails, or the worker does not answer in time.
        """
        goals = np.zeros(len(seeds), np.uint32) if goals is None else goals
        given = np.stack([seeds, goals], axis=1).astype(np.uint32)
        (observations,) = self._call(RESET, slots, given)
        return observations

    def step(self, slots: np.ndarray, actions: np.ndarray) -> Steps:
        """Step each of the given slots by its action.

        Args:
            slots: Different numbers of slots, int [batch], at least one.
            actions: Actions in [-1, 1], [batch, act].

        Returns:
            What each step gave, in the order of `slots`.

        Raises:
            WorkerError: If an environment fails, or the worker does not answer in time.
        """
        return Steps(*self._call(STEP, slots, np.asarray(actions, np.float32)))

    def close(self) -> None:
        """End the workers. Does nothing the second time."""
        self.closed = True
        for worker in self._workers:
            worker.hang_up()
        # All together: one environment that hangs must not have the next one waited for as well.
        deadline = time.monotonic() + _CLOSING_SECONDS
        for worker in self._workers:
            worker.close(deadline)
        self._workers = []

    def __enter__(self) -> "VectorEnvironment":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, kind: bytes, slots: np.ndarray, arguments: np.ndarray) -> list[np.ndarray]:
        """Ask every worker for its share of the slots, and put the answers in order again."""
        if self.closed:
            raise WorkerError("the environments are closed: make a new VectorEnvironment.")
        owners = self._owner[slots]
        shares = [np.flatnonzero(owners == i) for i in range(len(self._workers))]
        calls = [(w, rows) for w, rows in zip(self._workers, shares, strict=True) if len(rows)]
        try:
            for worker, rows in calls:
                numbers = self._number[slots[rows]].astype(np.int32)
                worker.send(kind, numbers, arguments[rows])
            deadline = time.monotonic() + self._step_timeout
            answers = [worker.receive(kind, len(rows), deadline) for worker, rows in calls]
        except BaseException:
            # An interrupt too: a worker whose answer was not read is out of step for good.
            self.close()
            raise
        order = np.argsort(np.concatenate([rows for _, rows in calls]))
        return [np.concatenate(field)[order] for field in zip(*answers, strict=True)]


class _InProcess:
    """The slots of this process, behind the same calls as a worker's."""

    def __init__(self, name: str):
        self._name = name
        self._slots: Slots | None = None
        self._answer: Sequence[Any] = ()

    def start(self, spec: EnvironmentSpec, count: int, timeout: float) -> None:
        self._slots = self._guarded(Slots.build, spec, count)

    def started(self, deadline: float) -> Sizes:
        assert self._slots is not None
        return self._slots.sizes

    def send(self, kind: bytes, slots: np.ndarray, arguments: np.ndarray) -> None:
        assert self._slots is not None
        if kind == RESET:
            self._answer = (self._guarded(self._slots.reset, slots, *arguments.T),)
        else:
            self._answer = self._guarded(self._slots.step, slots, arguments)

    def receive(self, kind: bytes, batch: int, deadline: float) -> Sequence[np.ndarray]:
        return self._answer

    def hang_up(self) -> None:
        pass

    def close(self, deadline: float) -> None:
        if self._slots is not None:
            self._slots.close()

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise WorkerError(
                f"environment {self._name!r} failed: {type(error).__name__}: {error}"
            ) from error


class Worker:
    """One worker process and the pipes to it."""

    def __init__(self, name: str):
        """Starts the process, and does not wait for it.

        Args:
            name: What it is called in errors.
        """
        require_posix()
        self._name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        # The worker imports what this process could: an environment's module beside a script too.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "floq.envs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env=os.environ | dict.fromkeys(_ONE_THREAD, "1") | {"PYTHONPATH": path},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    def start(self, spec: EnvironmentSpec, count: int, timeout: float) -> None:
        """Has it build environments, and does not wait for them."""
        start = {"spec": spec.to_json(), "count": count, "timeout": int(timeout) + 1}
        self._write(frame(START, json.dumps(start).encode()))

    def started(self, deadline: float) -> Sizes:
        """What observations and actions look like, once the environments are built."""
        self._sizes = Sizes(*json.loads(self._read_frame(deadline)))
        return self._sizes

    def send(self, kind: bytes, slots: np.ndarray, arguments: np.ndarray) -> None:
        """Asks for a reset or a step, and does not wait for it."""
        self._write(frame(kind, slots.tobytes() + arguments.tobytes()))

    def receive(self, kind: bytes, batch: int, deadline: float) -> Sequence[np.ndarray]:
        """What came of it."""
        payload = self._read_frame(deadline)
        if kind == RESET:
            return (np.frombuffer(payload, self._sizes.dtype).reshape(batch, -1),)
        return unpack_steps(payload, batch, self._sizes.dtype)

    def hang_up(self) -> None:
        """Tells the process to end."""
        self._requests.close()

    def close(self, deadline: float) -> None:
        """Ends the process, which has until then to close its environments."""
        try:
            self._process.wait(timeout=max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._replies.close()
        self._stderr.close()

    def _write(self, message: bytes) -> None:
        try:
            view = memoryview(message)
            while view:
                view = view[self._requests.write(view) :]
        except BrokenPipeError:
            raise self._death() from None

    def _read_frame(self, deadline: float) -> bytes:
        kind, length = HEADER.unpack(self._read(HEADER.size, deadline))
        payload = self._read(length, deadline)
        if kind == FAILURE:
            trace = payload.decode(errors="replace").rstrip()
            last = trace.splitlines()[-1]
            raise WorkerError(f"{self._name} failed: {last}\n\nIn the worker:\n{trace}")
        return payload

    def _read(self, length: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < length:
            remaining = deadline - time.monotonic()
            if not self._poll.poll(max(remaining, 0.0) * 1000):
                self._process.kill()
                raise WorkerError(
                    f"{self._name} did not answer in time and was stopped: an environment hangs, "
                    f"or the machine is overloaded.{self._last_words()}"
                )
            chunk = os.read(self._replies.fileno(), length - len(data))
            if not chunk:
                raise self._death()
            data += chunk
        return bytes(data)

    def _death(self) -> WorkerError:
        # Its end of the pipe is closed, so it has ended or is about to.
        try:
            code = self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"with exit status {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += " (often the system, short of memory: use fewer slots)"
        return WorkerError(f"{self._name} died {how}.{self._last_words()}")

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(size - 2000, 0))
        text = self._stderr.read().decode(errors="replace").strip()
        return f"\n\nIts last words:\n{text}" if text else ""
