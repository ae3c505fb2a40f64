"""One call of a policy for all who wait at the same time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from floq.export.floq_policy import Policy, blank, draw_noise

LARGEST = 32
"""Most observations of one call."""


class _Waiting(NamedTuple):
    observation: list[np.ndarray]
    noise: list[np.ndarray]
    plan: asyncio.Future[np.ndarray]


class Batcher:
    """Has a policy decide for whole batches, beside the loop that talks to clients."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    def warm_up(self) -> None:
        """Lets the program see every size of batch, so that none has to be compiled later."""
        record, size = self._policy.record, 1
        while size <= LARGEST:
            self._policy.plan(blank(record, size), draw_noise(record, size, [0]))
            size *= 2

    async def plan(self, observation: list[np.ndarray], noise: list[np.ndarray]) -> np.ndarray:
        """The next actions at one observation, [chunk, act].

        Args:
            observation: Its arrays as the program reads them, of one row each.
            noise: The program's other inputs, of one row each.

        Raises:
            ValueError: If they are not finite.
        """
        waiting = _Waiting(observation, noise, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.plan

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decides while the context lasts."""
        with ThreadPoolExecutor(1) as thread:
            task = asyncio.create_task(self._decide(thread))
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _decide(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while len(batch) < LARGEST and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            plans = await loop.run_in_executor(thread, self._plans, batch)
            for waiting, plan in zip(batch, plans, strict=True):
                if waiting.plan.cancelled():
                    continue  # The client has gone.
                if isinstance(plan, Exception):
                    waiting.plan.set_exception(plan)
                else:
                    waiting.plan.set_result(plan)

    def _plans(self, batch: list[_Waiting]) -> list[np.ndarray | Exception]:
        """A plan for each, or what is wrong with it."""
        try:
            return list(self._together(batch))
        except Exception as error:
            if len(batch) == 1:
                return [ValueError(f"the policy cannot decide: {error}")]
            # One observation must not spoil the others' answers.
            return [plan for waiting in batch for plan in self._plans([waiting])]

    def _together(self, batch: list[_Waiting]) -> np.ndarray:
        # Sizes are powers of two, since a program is compiled for each.
        rows = batch + batch[:1] * ((1 << (len(batch) - 1).bit_length()) - len(batch))
        observations, noise = (
            [np.concatenate(one) for one in zip(*arrays, strict=True)]
            for arrays in ([one.observation for one in rows], [one.noise for one in rows])
        )
        return self._policy.plan(observations, noise)[: len(batch)]
