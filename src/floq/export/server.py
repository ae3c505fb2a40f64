"""A policy behind a websocket, by OpenPI's protocol, for clients that hold its token."""

import asyncio
import contextlib
import hmac
import http
import ipaddress
import logging
import math
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import floq
from floq.client import pack, unpack
from floq.export.batching import Batcher
from floq.export.floq_policy import Policy, parts
from floq.export.session import Session
from floq.extras import require_extra
from floq.settings import takes_settings
from floq.workers import stop_signals

# What clients do wrong is told to them. Who wants to read it here, too, adds a handler.
_LOGGER = logging.getLogger(__name__)
_LOGGER.addHandler(logging.NullHandler())
_BESIDE = 2**20
"""Bytes of a request beside those of an observation, which may be of float64."""
_GRACE = 10.0
"""Seconds that a stop waits for what is being answered."""


class PolicyServer:
    """Answers each client's observations with the actions of one policy.

    A connection is a session with a plan and noise of its own; what waits at the same time is
    decided by one call of the policy. Text frames are errors, after which the connection is closed.

    Attributes:
        token: What clients must show, as `Authorization: Api-Key TOKEN`.
        address: Host and port, once it listens.
    """

    @takes_settings("host", "port", "token", "sessions", "rate")
    def __init__(
        self,
        policy: Policy,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str | None = None,
        sessions: int = 64,
        rate: float = 1000.0,
    ):
        """Prepares the server; nothing listens yet.

        Args:
            policy: The policy.
            host: The address to listen on; other machines reach no loopback address.
            port: The port; 0 takes a free one.
            token: What clients must show; a random one by default.
            sessions: Most connections at a time.
            rate: Most requests a second of a session; further ones wait.

        Raises:
            MissingExtraError: If the extra `serve` is not installed.
            ValueError: If a number is out of its range, or the token is as `check_token` says.
        """
        require_extra("serve")
        if not 0 <= port < 2**16:
            raise ValueError(f"port is {port}: give a number from 0 to 65535.")
        if sessions < 1 or not rate > 0:
            raise ValueError(f"sessions is {sessions}, rate {rate}: give numbers above 0.")
        self.token = secrets.token_urlsafe(32) if token is None else check_token(token)
        if not _is_loopback(host):
            warnings.warn(
                f"{host} can be reached by other machines, and what is said is not encrypted: who "
                "listens on the network sees the token.",
                UserWarning,
                stacklevel=2,
            )
        self.address: tuple[str, int] = (host, port)
        self._policy, self._most, self._rate = policy, sessions, rate
        self._batcher = Batcher(policy)
        self._sessions: dict[Any, Session] = {}
        self._stopping = False

    def run(self, *, listening: Callable[[], None]) -> None:
        """Serves until a signal asks for the end, then answers what it has and ends.

        Args:
            listening: Is called once clients can connect.
        """

        async def main() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in stop_signals():
                # A second signal changes nothing.
                loop.add_signal_handler(number, stop.set)
            await self.serve(stop, listening)

        asyncio.run(main())

    async def serve(self, stop: asyncio.Event, listening: Callable[[], None]) -> None:
        """Serves until the event is set.

        Args:
            stop: Asks for the end.
            listening: Is called once clients can connect.

        Raises:
            OSError: If the place is taken, or not this machine's.
        """
        from websockets.asyncio.server import serve

        self._batcher.warm_up()
        async with self._batcher.running():
            try:
                server = await serve(
                    self._handle,
                    *self.address,
                    compression=None,
                    max_size=largest_request(self._policy.record),
                    max_queue=4,
                    # Who does not answer a goodbye, or left with requests unread, keeps no session.
                    close_timeout=1.0,
                    process_request=self._gate,
                    server_header=None,
                    logger=_LOGGER,
                )
            except OSError as error:
                place = ":".join(map(str, self.address))
                raise OSError(
                    f"{place} cannot be listened on ({error.strerror or error}): give another "
                    "--port (0 takes a free one), or the --host of this machine."
                ) from error
            self.address = next(iter(server.sockets)).getsockname()[:2]
            try:
                listening()
                await stop.wait()
            finally:
                self._stopping = True
                server.close(close_connections=False)
                for connection, session in list(self._sessions.items()):
                    if not session.is_asking:
                        await connection.close(1001)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(server.wait_closed(), _GRACE)

    def _gate(self, connection: Any, request: Any) -> Any:
        """Answers what is no client: health, browsers, wrong tokens, one too many."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if "Origin" in request.headers:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "no browsers\n")
        given = request.headers.get_all("Authorization")
        wanted = f"Api-Key {self.token}".encode()
        if not hmac.compare_digest("\n".join(given).encode(errors="replace"), wanted):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "wrong or missing token\n")
        if self._stopping or len(self._sessions) >= self._most:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "no session is free\n")
        return None

    async def _handle(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        session = self._sessions[connection] = Session(self._policy, self._rate)
        try:
            await connection.send(pack(metadata(self._policy.record)))
            async for message in connection:
                session.is_asking = True
                await asyncio.sleep(session.wait(time.monotonic()))
                reply = await self._reply(session, message)
                await connection.send(reply)
                session.is_asking = False
                if isinstance(reply, str) or self._stopping:
                    return await connection.close(1008 if isinstance(reply, str) else 1001)
        except ConnectionClosed:
            pass
        finally:
            del self._sessions[connection]

    async def _reply(self, session: Session, message: bytes | str) -> bytes | str:
        """An answer, or what is wrong in words."""
        started = time.monotonic()
        try:
            if isinstance(message, str):
                raise ValueError("give a binary frame of msgpack")
            request = session.read(unpack(message))
            if request.observation is not None:
                # One's own place in a batch.
                plan = await self._batcher.plan(request.observation, request.noise)
                session.take(plan)
            answer = session.answer(request)
        except ValueError as error:
            return f"{type(error).__name__}: {error}"[:1000]
        answer["server_timing"] = {"infer_ms": 1e3 * (time.monotonic() - started)}
        return pack(answer)


def check_token(token: str, name: str = "the token") -> str:
    """The token, if clients can show it, and nobody can guess it.

    Raises:
        ValueError: If it is short, or no line of ASCII; the message calls it by its name.
    """
    if len(token) < 16 or not (token.isascii() and token.isprintable() and token == token.strip()):
        raise ValueError(
            f"{name} has fewer than 16 letters, others than those of ASCII, or blanks around it: "
            "give another one, or none for a random one."
        )
    return token


@contextlib.contextmanager
def serving(policy: Policy, **options: Any) -> Iterator[PolicyServer]:
    """A server in a thread of this process, which ends with the context.

    Args:
        policy: The policy.
        options: Those of `PolicyServer`; the port is a free one by default.
    """
    server = PolicyServer(policy, **{"port": 0, **options})
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(server.serve(stop, ready.set))
        except BaseException as error:
            failures.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="policy server")
    thread.start()
    ready.wait()
    try:
        if not failures:
            yield server
    finally:
        if not failures:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failures:
        raise failures[0]


def metadata(record: dict[str, Any]) -> dict[str, Any]:
    """What clients are told first."""
    seen = record["observations"]
    told = {name: seen[name] for name in ("shape", "dtype", "parts", "frames") if name in seen}
    vector = {} if "frames" in seen else {"observation_dim": seen["shape"][0]}
    return {
        "floq": floq.__version__,
        "observations": told,
        **vector,
        "action_dim": record["actions"]["shape"][0],
        "action_low": record["actions"]["low"],
        "action_high": record["actions"]["high"],
        "largest_request": largest_request(record),
        **{name: record[name] for name in ("algorithm", "policy", "chunk", "candidates")},
    }


def largest_request(record: dict[str, Any]) -> int:
    """Bytes that are read of a request."""
    shown = parts(record).values()
    sizes = (math.prod(one["shape"]) * np.dtype(one["dtype"]).itemsize for one in shown)
    return _BESIDE + 2 * sum(sizes)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
