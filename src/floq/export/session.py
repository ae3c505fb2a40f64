"""What a policy server knows of one client: its episode, its step and its plan."""

from typing import Any, NamedTuple

import numpy as np

from floq.export.floq_policy import Policy, check_seed, draw_noise, parts, read, stacked

_VECTORS = ("observation/state", "state")
"""What OpenPI's clients call an observation that is one array."""
_OTHERS = ("prompt", "step", "reset", "seed")


class Request(NamedTuple):
    """What a client wants.

    Attributes:
        observation: What a new plan is made of, arrays of one row; None where the old one goes on.
        noise: The plan's noise, arrays of one row.
        step: Whether the next action is wanted, and not the whole plan.
        reset: Whether an episode begins.
    """

    observation: list[np.ndarray] | None
    noise: list[np.ndarray]
    step: bool
    reset: bool


class Session:
    """One client's episode. Its noise is that of a policy that is loaded and acts by itself.

    Attributes:
        is_asking: Whether it waits for an answer.
    """

    def __init__(self, policy: Policy, rate: float):
        """Begins the first episode.

        Args:
            policy: The policy.
            rate: Most requests a second.
        """
        self._record, self._seed, self._rate = policy.record, policy.seed, rate
        self._episode, self._step = 0, 0
        self._plan = np.zeros((0, 0), np.float32)
        self._seen: list[np.ndarray] | None = None
        # OpenPI's clients have the arrays of an observation side by side.
        self._beside = {name: f"observation/{name}" for name in parts(policy.record) if name}
        self._names = ("observation", *(() if self._beside else _VECTORS))
        self._free_at = 0.0
        self.is_asking = False

    def wait(self, now: float) -> float:
        """Seconds until the next request may be answered; a second's requests may come at once."""
        self._free_at = max(self._free_at, now - 1.0) + 1 / self._rate
        return max(0.0, self._free_at - now)

    def read(self, message: Any) -> Request:
        """What a message wants.

        Raises:
            ValueError: If it is no request, or its observation does not fit the policy.
        """
        if not isinstance(message, dict):
            raise ValueError(f"a request is a dictionary, not a {type(message).__name__}")
        unknown = set(message) - {*self._names, *self._beside.values(), *_OTHERS}
        if unknown:
            raise ValueError(f"unknown: {sorted(map(repr, unknown))[:5]}; give 'observation'")
        if message.get("reset"):
            self._begin(message.get("seed"))
            return Request(None, [], step=False, reset=True)
        step, chunk = bool(message.get("step")), self._record["chunk"]
        if not step and chunk > 1 and self._record["observations"].get("frames", 1) > 1:
            raise ValueError("the policy reads the observations of every step: give 'step': True")
        self._seen = stacked(self._record, self._shown(message), self._seen)
        if step and self._step % chunk:
            return Request(None, [], step=True, reset=False)
        # A client that takes whole plans is at the beginning of one.
        self._step = -(-self._step // chunk) * chunk
        noise = draw_noise(self._record, 1, [self._seed, self._episode, self._step])
        return Request(self._seen, noise, step, reset=False)

    def take(self, plan: np.ndarray) -> None:
        """Keeps a new plan, [chunk, act]."""
        self._plan = plan

    def answer(self, request: Request) -> dict[str, Any]:
        """The answer, after which the session is a step, or a whole plan, further."""
        if request.reset:
            return {"reset": self._episode}
        turn, chunk = self._step % self._record["chunk"], self._record["chunk"]
        self._step += 1 if request.step else chunk
        return {"action": self._plan[turn]} if request.step else {"actions": self._plan}

    def _begin(self, seed: Any) -> None:
        self._seen = None
        if seed is None:
            self._episode, self._step = self._episode + bool(self._step), 0
            return
        self._seed, self._episode, self._step = check_seed(seed), 0, 0

    def _shown(self, message: dict[Any, Any]) -> list[np.ndarray]:
        """The arrays of a message's one observation, each of one row."""
        given = [message[name] for name in self._names if name in message]
        beside = {name: message[key] for name, key in self._beside.items() if key in message}
        if len(given) + bool(beside) != 1:
            raise ValueError("give one 'observation', or 'reset': True")
        arrays, is_batch = read(self._record, beside or given[0])
        if is_batch:
            raise ValueError("the observation has the shape of a batch: give one at a time")
        return arrays
