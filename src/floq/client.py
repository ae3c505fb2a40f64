"""Asks a policy server for actions; needs numpy, msgpack and websockets alone.

It speaks the protocol of OpenPI's servers: msgpack over a websocket, with arrays as dictionaries
of their bytes, dtype and shape. This file runs by itself, without the rest of floq.

Example:
    >>> from floq.client import PolicyClient
    >>> with PolicyClient("ws://127.0.0.1:8000", token) as policy:  # doctest: +SKIP
    ...     policy.reset()
    ...     action = policy.act(observation)
"""

import contextlib
import math
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

_LARGEST = 2**26


class PolicyClient:
    """A session with a policy server, which keeps the session's plan and noise.

    Attributes:
        metadata: What the server says of its policy: observations, bounds, chunk.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 30.0):
        """Connects.

        Args:
            url: As `floq serve` prints it, such as ws://127.0.0.1:8000.
            token: The server's.
            timeout: Seconds to wait for an answer.

        Raises:
            ValueError: If the url is none of a websocket, or the token no line of text.
            RuntimeError: If the token is not the server's.
            ConnectionError: If there is no server, or it has no session free.
        """
        self._end, self._timeout = contextlib.ExitStack(), timeout
        self._socket = self._end.enter_context(_connected(url, token, timeout))
        self.metadata = self._answer()

    def reset(self, *, seed: int | None = None) -> None:
        """Begins an episode; with a seed, the first one of that seed's noise."""
        self.infer({"reset": True} if seed is None else {"reset": True, "seed": seed})

    def act(self, observation: Any) -> np.ndarray:
        """The next action, in the environment's own units.

        Args:
            observation: What the environment shows: a vector, an image of bytes, or a dictionary.

        Raises:
            ValueError: If it is none of these; the rest is as of `infer`.
        """
        return self.infer({"observation": _arrays(observation), "step": True})["action"]

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the server answers; {"observation": …} gives the actions of a whole chunk.

        Raises:
            ValueError: If the request is larger than the server reads.
            RuntimeError: If the server refuses; its words are the message, and the session is over.
            ConnectionError: If the session is over, or no answer has come in time.
        """
        message = pack(request)
        if len(message) > self.metadata.get("largest_request", _LARGEST):
            words = "more than the server reads: give one observation, as in `metadata`"
            raise ValueError(f"the request has {len(message):,} bytes, {words}")
        return self._answer(message)

    def close(self) -> None:
        """Ends the session."""
        self._end.close()

    def __enter__(self) -> "PolicyClient":
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the session."""
        self.close()

    def _answer(self, message: bytes | None = None) -> Any:
        try:
            return unpack(_reply(self._socket, message, self._timeout))
        except (ConnectionError, RuntimeError):
            self.close()  # A late answer would be taken for that of the next request.
            raise


def pack(value: Any) -> bytes:
    """The bytes of numbers, texts, lists, dictionaries and arrays of numbers."""
    import msgpack

    packed: Any = msgpack.packb(value, default=_packed)
    return packed


def unpack(content: bytes) -> Any:
    """What `pack` packed. Nothing but numbers, texts and their containers comes of any bytes.

    Raises:
        ValueError: If that is not what these bytes are.
    """
    import msgpack

    try:
        return msgpack.unpackb(content, object_hook=_unpacked)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"no message: {type(error).__name__}: {error}") from error


def _connected(url: Any, token: Any, timeout: float) -> Any:
    """A connection to a server; the errors are those of `PolicyClient`."""
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    try:
        address = urllib.parse.urlsplit(url if isinstance(url, str) else "")
        is_known = address.scheme in ("ws", "wss") and address.port != 0 and address.hostname
    except ValueError:  # A port that is none.
        is_known = False
    if not is_known:
        raise ValueError(f"url is {url!r}: give what `floq serve` prints, as ws://HOST:PORT")
    if not isinstance(token, str) or not token.isprintable() or token != token.strip():
        raise ValueError("the token is no line of text without blanks around it: strip it")
    headers = {"Authorization": f"Api-Key {token}"}
    options: Any = {"compression": None, "max_size": _LARGEST, "proxy": None}
    try:
        return connect(url, additional_headers=headers, open_timeout=timeout, **options)
    except (OSError, WebSocketException) as error:
        if isinstance(error, InvalidStatus) and error.response.status_code == 401:
            raise RuntimeError(f"{url} does not take this token: give the server's") from None
        words = "is the server there, with a session free?"
        raise ConnectionError(f"{url}: {error}: {words}") from error


def _reply(socket: Any, message: bytes | None, timeout: float) -> bytes:
    """What the server says to a message, or first; the errors are those of `infer`."""
    from websockets.exceptions import ConnectionClosed

    try:
        if message is not None:
            socket.send(message)
        reply = socket.recv(timeout=timeout)
    except (ConnectionClosed, TimeoutError) as error:
        ends = f"close(), a refusal, the server's end or {timeout} s without an answer"
        raise ConnectionError(f"the session is over, by {ends}: connect again") from error
    if isinstance(reply, str):
        raise RuntimeError(f"the policy server refuses, and ends the session: {reply}")
    return reply


def _arrays(observation: Any, place: str = "the observation") -> Any:
    if isinstance(observation, Mapping):
        return {str(key): _arrays(one, f"{place}[{key!r}]") for key, one in observation.items()}
    try:
        array = np.asarray(observation)
    except ValueError:  # Rows of several lengths.
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{place} is no array of numbers, nor a dictionary: {observation!r:.200}")
    return array


def _packed(value: Any) -> Any:
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "biuf":
        raise TypeError(f"{type(value).__name__} cannot be sent: give numbers, or arrays of them.")
    kind = value.dtype.str
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": kind}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": kind, b"shape": value.shape}


def _unpacked(value: dict[Any, Any]) -> Any:
    is_array = b"__ndarray__" in value
    if not is_array and b"__npgeneric__" not in value:
        return value
    name, data = value[b"dtype"], value[b"data"]
    if not isinstance(name, str) or not re.fullmatch(r"[<>|=]?[biuf]\d{1,2}", name):
        raise ValueError(f"arrays of {name!r} are refused")
    dtype = np.dtype(name)
    if not is_array:
        return dtype.type(data)
    shape = value[b"shape"]
    if not isinstance(data, bytes) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("an array has no bytes, or no shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)
