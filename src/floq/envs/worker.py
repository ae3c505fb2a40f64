"""A process that steps environment slots for `floq.envs.vector`: `python -m floq.envs.worker`.

It reads requests from its standard input and answers on its standard output, in frames: one byte
that says what it is, the payload's length as a little-endian uint32, the payload. Nothing is ever
unpickled. It ends when its input does, so that it cannot outlive the process that started it.
"""

import json
import os
import signal
import struct
import sys
import traceback

import numpy as np

from floq.envs.make import EnvironmentSpec
from floq.envs.slots import Slots, Steps
from floq.workers import stop_signals

START, RESET, STEP = b"i", b"r", b"s"
RESULT, FAILURE = b"o", b"e"
HEADER = struct.Struct("<cI")


def frame(kind: bytes, payload: bytes) -> bytes:
    """A message as it goes over the pipe."""
    return HEADER.pack(kind, len(payload)) + payload


def unpack_steps(payload: bytes, batch: int, dtype: np.dtype) -> Steps:
    """The `Steps` of `batch` environments from the bytes of its arrays, one after the other.

    Args:
        payload: The bytes.
        batch: Number of environments.
        dtype: Of an observation.
    """
    tail = 8 + 1 + 1 + 8
    observation_bytes = len(payload) // batch - tail
    sizes = np.cumsum([batch * size for size in (observation_bytes, 8, 1, 1)])
    parts = (payload[a:b] for a, b in zip([0, *sizes], [*sizes, len(payload)], strict=True))
    dtypes = (dtype, np.float64, np.bool_, np.bool_, np.float64)
    observations, *rest = (np.frombuffer(p, d) for p, d in zip(parts, dtypes, strict=True))
    return Steps(observations.reshape(batch, -1), *rest)


class _Server:
    """Answers requests about one set of slots."""

    def __init__(self) -> None:
        self.slots: Slots | None = None
        self.timeout = 0

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        if kind == START:
            start = json.loads(payload)
            self.timeout = start["timeout"]
            self.slots = Slots.build(EnvironmentSpec.from_json(start["spec"]), start["count"])
            return json.dumps(self.slots.sizes).encode()
        if self.slots is None:
            raise RuntimeError("the worker was asked to act before it was told what to build")
        # A request is the slots' numbers (int32), then a seed and a goal (uint32) or an action for
        # each.
        batch = len(payload) // (12 if kind == RESET else 4 + 4 * self.slots.sizes.action_dim)
        slots = np.frombuffer(payload, np.int32, batch)
        if kind == RESET:
            given = np.frombuffer(payload, np.uint32, offset=slots.nbytes).reshape(batch, 2)
            return self.slots.reset(slots, *given.T).tobytes()
        actions = np.frombuffer(payload, np.float32, offset=slots.nbytes).reshape(batch, -1)
        return b"".join(array.tobytes() for array in self.slots.step(slots, actions.copy()))


def main() -> int:
    """Serve until the standard input ends; 1 if a request failed."""
    # A request to stop reaches the whole process group. The parent decides what it means, and wants
    # to finish what it does first.
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    # What an environment prints must not mix with the answers.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    server = _Server()
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        payload = requests.read(length)
        # An environment that hangs after the parent was killed would never see its input end.
        signal.alarm(server.timeout)
        try:
            reply, failed = frame(RESULT, server.answer(kind, payload)), False
        except Exception:
            reply, failed = frame(FAILURE, traceback.format_exc().encode()), True
        signal.alarm(0)
        replies.write(reply)
        replies.flush()
        if failed:
            return 1
    if server.slots is not None:
        server.slots.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
