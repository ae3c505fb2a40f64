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
from collections.abc import Mapping
from typing import Any

import numpy as np


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
            ValueError: If the token is no line of text.
            RuntimeError: If it is not the server's.
            OSError: If there is no server.
        """
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        if not isinstance(token, str) or not token.isprintable() or token != token.strip():
            raise ValueError("the token is no line of text without blanks around it: strip it")
        headers = {"Authorization": f"Api-Key {token}"}
        self._timeout = timeout
        options: Any = {"compression": None, "max_size": 2**26, "proxy": None}
        try:
            connection = connect(url, additional_headers=headers, open_timeout=timeout, **options)
        except InvalidStatus as error:
            if error.response.status_code != 401:
                raise
            raise RuntimeError(f"{url} does not take this token: give the server's") from None
        except OSError as error:
            raise type(error)(f"{url}: {error}: is the server there?") from error
        self._end = contextlib.ExitStack()
        self._socket = self._end.enter_context(connection)
        self.metadata = self._received()

    def reset(self, *, seed: int | None = None) -> None:
        """Begins an episode; with a seed, the first one of that seed's noise."""
        self.infer({"reset": True} if seed is None else {"reset": True, "seed": seed})

    def act(self, observation: Any) -> np.ndarray:
        """The next action, in the environment's own units.

        Args:
            observation: What the environment shows: a vector, an image of bytes, or a dictionary.
        """
        return self.infer({"observation": _arrays(observation), "step": True})["action"]

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the server answers; {"observation": …} gives the actions of a whole chunk.

        Raises:
            RuntimeError: If the server refuses; its words are the message.
        """
        self._socket.send(pack(request))
        return self._received()

    def close(self) -> None:
        """Ends the session."""
        self._end.close()

    def __enter__(self) -> "PolicyClient":
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the session."""
        self.close()

    def _received(self) -> Any:
        reply = self._socket.recv(timeout=self._timeout)
        if isinstance(reply, str):
            raise RuntimeError(f"the policy server refuses: {reply}")
        return unpack(reply)


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


def _arrays(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {name: _arrays(value) for name, value in observation.items()}
    return np.asarray(observation)


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
