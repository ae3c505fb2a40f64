"""What clients do to a policy server; `python -m tests.faults.serving 600` is a load in seconds."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from floq.client import PolicyClient, pack
from floq.export import Policy, export_policy, load_policy
from floq.training import load_run
from tests.faults.learning import train_small
from tests.faults.programs import ROOT
from tests.faults.trials import Row, Trial, hold

_SECONDS = 20.0
_END = 5.0
"""Seconds in which a server ends whom nobody asks anything: less than it gives an answer."""


class Served:
    """A server in a process of its own, and the policy that it serves.

    Attributes:
        policy: The policy, for what the answers must be.
        url: Where it listens.
        token: What it wants to be shown.
    """

    def __init__(self, folder: Path):
        """Starts it.

        Args:
            folder: An exported policy.
        """
        self.folder, self.policy = folder, load_policy(folder)
        words = ["serve", str(folder), "--port", "0", "--rate", "1e6"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "floq", *words],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().replace(",", "").split()
        hold(len(said) > 5, "the server did not start")
        self.url, self.token = said[3], said[5]
        host, port = self.url.removeprefix("ws://").split(":")
        self.address = host, int(port)
        self.size = self.policy.record["observations"]["shape"][0]
        self._random = np.random.default_rng(0)

    def client(self) -> Any:
        """A connection that shows the token."""
        headers = {"Authorization": f"Api-Key {self.token}"}
        # Who does not read sees no answer to its goodbye either: it need not wait for one.
        options: Any = {"compression": None, "proxy": None, "close_timeout": 0.5}
        return connect(self.url, additional_headers=headers, **options)

    def hold_well(self, seed: int) -> None:
        """Somebody else's session is served, and rightly."""
        hold(self._process.poll() is None, f"the server ended with {self._process.returncode}")
        local = Policy(self.policy.record, self.policy.program, seed)
        with PolicyClient(self.url, self.token, timeout=_SECONDS) as client:
            client.reset(seed=seed)
            for state in np.random.default_rng(seed).normal(size=(3, self.size)):
                difference = float(np.abs(client.act(state) - local.act(state)).max())
                hold(difference <= 1e-5, f"a wrong answer, by {difference:.2g}")

    def used(self) -> dict[str, float]:
        """What the process holds: megabytes, open files, threads (Linux)."""
        place = Path(f"/proc/{self._process.pid}")
        pages = int((place / "statm").read_text().split()[1])
        return {
            "MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            "open files": len(list((place / "fd").iterdir())),
            "threads": len(list((place / "task").iterdir())),
        }

    def settled(self) -> dict[str, float]:
        """What it holds once those who have gone are noticed."""
        least = self.used()
        deadline = time.monotonic() + _SECONDS
        while least["open files"] > self.idle["open files"] and time.monotonic() < deadline:
            time.sleep(0.05)
            least = self.used()
        return least

    def warm(self) -> None:
        """Notes what it holds when it has served and nobody is there."""
        for seed in range(20):
            self.hold_well(seed)
        time.sleep(0.5)
        self.idle = self.used()

    def stop(self) -> None:
        """Asks for the end, which must be a good one."""
        self._process.send_signal(signal.SIGTERM)
        try:
            said = self._process.communicate(timeout=_END)
        finally:
            self._process.kill()
        hold(self._process.returncode == 0, f"it ended with {self._process.returncode}: {said}")
        hold("Traceback" not in said[1], said[1])


def _malformed(served: Served, random: np.random.Generator) -> None:
    """A frame that is no request: random bytes, a spoilt request, a lie about sizes."""
    good = bytearray(pack({"observation": random.normal(size=served.size), "step": True}))
    kind = int(random.integers(5))
    if kind == 0:
        frame: bytes | str = random.bytes(int(random.integers(0, 200)))
    elif kind == 1:
        good[int(random.integers(len(good)))] ^= 1 << int(random.integers(8))
        frame = bytes(good)
    elif kind == 2:
        frame = bytes(good[: int(random.integers(len(good)))])
    elif kind == 3:
        lies = ({b"shape": [2**40]}, {b"dtype": "O"}, {b"dtype": "<f8,<f8"}, {b"data": "x"})
        array = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f8", b"shape": [1]}
        frame = pack({"observation": array | lies[int(random.integers(len(lies)))]})
    else:
        texts = ("observation", "{}", "\0" * 100)
        frame = texts[int(random.integers(len(texts)))]
    with served.client() as client:
        client.recv(timeout=_SECONDS)
        client.send(frame)
        try:
            answer = client.recv(timeout=_SECONDS)
        except ConnectionClosed:
            return
        if isinstance(answer, bytes):
            # A bit of a number may be another number: then it is a request, and served as one.
            hold(kind in (0, 1), f"a frame of kind {kind} got an answer: {bytes(frame)[:80]!r}")


def _broken(served: Served, random: np.random.Generator) -> None:
    """Bytes that are no websocket: of the handshake, or behind it."""
    with socket.create_connection(served.address, timeout=_SECONDS) as raw:
        if random.integers(2):
            raw.sendall(random.bytes(int(random.integers(1, 2000))))
        else:
            head = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key {served.token}\r\n"
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            raw.sendall(head.encode()[: int(random.integers(1, len(head) + 1))])
            raw.sendall(random.bytes(int(random.integers(200))))


def _dropped(served: Served, random: np.random.Generator) -> None:
    """A client that asks and is gone, by a reset of its connection."""
    with contextlib.suppress(ConnectionClosed, OSError), served.client() as client:
        if random.integers(2):
            client.recv(timeout=_SECONDS)
        client.send(pack({"observation": random.normal(size=served.size)}))
        linger = struct.pack("ii", 1, 0)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.socket.close()


def _slow(served: Served, random: np.random.Generator) -> None:
    """A client that asks and does not read, or sends a byte now and then."""
    with contextlib.suppress(ConnectionClosed, OSError), served.client() as client:
        request = pack({"observation": random.normal(size=served.size)})
        for _ in range(int(random.integers(1, 200))):
            client.send(request)
        served.hold_well(int(random.integers(2**31)))


def _stranger(served: Served, random: np.random.Generator) -> None:
    """A wrong token, or none, or a browser with the right one."""
    letters = list(served.token)
    letters[int(random.integers(len(letters)))] = "!"
    given: list[dict[str, str]] = [
        {},
        {"Authorization": "Api-Key " + "".join(letters)},
        {"Authorization": "Api-Key " + served.token[: int(random.integers(len(letters)))]},
        {"Authorization": served.token},
        {"Authorization": f"Api-Key {served.token}", "Origin": "http://127.0.0.1"},
    ]
    headers = given[int(random.integers(len(given)))]
    try:
        with connect(served.url, additional_headers=headers, proxy=None):
            hold(False, f"let in with {headers}")
    except InvalidHandshake as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        hold(status == (403 if "Origin" in headers else 401), f"refused with {status}")


_KINDS: tuple[Callable[[Served, np.random.Generator], None], ...] = (
    *(_malformed, _malformed, _malformed),
    *(_broken, _dropped, _slow, _stranger),
)


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Served]:
    train_small(folder / "run", steps=20)
    trained = load_run(folder / "run").trained()
    served = Served(export_policy(trained, folder / "policy", format="numpy"))
    try:
        served.warm()
        yield served
    finally:
        served.stop()


@contextlib.contextmanager
def _clients(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    with _served(folder) as served:

        def trial(number: int, random: np.random.Generator) -> dict[str, float]:
            _KINDS[number % len(_KINDS)](served, random)
            served.hold_well(number)
            if number % 50 and number != wanted - 1:
                return {}
            used = served.settled()
            for name, most in (("open files", 0), ("threads", 0), ("MB", 50)):
                more = used[name] - served.idle[name]
                hold(more <= most, f"{more:g} more {name} after {number + 1} trials")
            return used

        yield [partial(trial, number) for number in range(wanted)]


def load(served: Served, seconds: float, clients: int = 8) -> dict[str, float]:
    """All clients ask as fast as they are answered; every answer is held against the policy.

    Args:
        served: The server.
        seconds: For how long.
        clients: How many ask.

    Returns:
        Requests a second, the median and the 99th percentile of a round trip, and what it holds.
    """
    trips: list[list[float]] = [[] for _ in range(clients)]
    failures: list[str] = []
    states = np.random.default_rng(0).normal(size=(64, served.size)).astype(np.float32)
    end = time.monotonic() + seconds

    def drive(number: int) -> None:
        local = Policy(served.policy.record, served.policy.program, number)
        wanted = [local.act(state) for state in states]
        try:
            with PolicyClient(served.url, served.token, timeout=_SECONDS) as client:
                while time.monotonic() < end:
                    client.reset(seed=number)
                    for state, action in zip(states, wanted, strict=True):
                        started = time.perf_counter()
                        found = client.act(state)
                        trips[number].append(time.perf_counter() - started)
                        if np.abs(found - action).max() > 1e-5:
                            failures.append("a wrong answer")
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hold(not failures, f"{len(failures)} failures, first {failures[:1]}")
    everyone = np.concatenate([np.array(one) for one in trips])
    median, slowest = 1e3 * np.percentile(everyone, [50, 99])
    found = {
        "requests/s": len(everyone) / seconds,
        "ms": float(median),
        "ms of 99%": float(slowest),
    }
    used = served.settled()
    hold(used["open files"] <= served.idle["open files"], f"open files are left: {used}")
    more = used["MB"] - served.idle["MB"]
    hold(more <= 50, f"{more:.0f} MB more than before")
    return found | used


@contextlib.contextmanager
def _load(folder: Path, wanted: int, *, seconds: float = 600.0) -> Iterator[Sequence[Trial]]:
    with _served(folder) as served:
        yield [lambda random: load(served, seconds)] * wanted


ROWS = [
    Row(
        "clients",
        "malformed frames and handshakes, dropped and slow connections, wrong tokens and browsers, "
        "at a policy server",
        "refused in words or closed; another session gets its own policy's actions all the time; "
        "no open file, thread or memory is left; the server ends well",
        2000,
        21,
        _clients,
    ),
    Row(
        "load",
        "ten minutes of eight clients of a policy server that ask as fast as they are answered",
        "every answer is the policy's; no open file is left, and at most 50 MB more memory",
        1,
        0,
        _load,
    ),
]

if __name__ == "__main__":
    import tempfile

    _words = [float(word) for word in sys.argv[1:]]
    with (
        tempfile.TemporaryDirectory(prefix="floq-load-") as _place,
        _served(Path(_place)) as _server,
    ):
        print(json.dumps(load(_server, _words[0], *map(int, _words[1:]))))
