"""Environment slots: several copies of one environment, each with random states of its own."""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from floq.envs.goals import GoalObservations
from floq.envs.make import EnvironmentSpec, wrappers_of
from floq.envs.observations import form_of_space


class Sizes(NamedTuple):
    """What messages of environments look like.

    Attributes:
        observation_dim: Entries of an observation.
        action_dim: Entries of an action.
        is_packed: Whether an observation's entries are bytes; float32 otherwise.
        goal_count: Goals that an episode can be given, numbered from 1; 0 if none can.
    """

    observation_dim: int
    action_dim: int
    is_packed: bool = False
    goal_count: int = 0

    @property
    def dtype(self) -> np.dtype:
        """Of an observation."""
        return np.dtype(np.uint8 if self.is_packed else np.float32)


class Steps(NamedTuple):
    """What one step of several environments gave, one row per environment.

    Attributes:
        observations: What each environment shows after the step, float32 [batch, obs], or the
            bytes of what has a form.
        rewards: Its reward, float64 [batch].
        terminated: Whether the episode reached a true end, bool [batch].
        truncated: Whether a time limit cut it, bool [batch].
        successes: `info["success"]` or `info["is_success"]`, NaN where the environment does not
            tell, float64 [batch].
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    successes: np.ndarray


class Slots:
    """Environments that live in this process, addressed by number.

    Some environments draw from numpy's global generator besides their own (OGBench's mazes draw
    start states from it). That generator is therefore part of an environment's state here: each
    slot has one, in place whenever the slot's environment runs, so that what an episode sees
    depends on its seed only, not on its neighbours, and the caller's generator is left alone.
    Swapping the generators takes about a microsecond.

    Attributes:
        environments: The environment of each slot.
        form: What the bytes of an observation are; None of vectors.
        sizes: What messages of these environments look like.
    """

    def __init__(self, environments: Sequence[gymnasium.Env]):
        """Put environments in slots.

        Args:
            environments: One for each slot, at least 1, with actions in [-1, 1].
        """
        self.environments = list(environments)
        self._generators = [np.random.MT19937(0) for _ in environments]
        first = self.environments[0]
        observations, actions = first.observation_space, first.action_space
        self.form = form_of_space(observations)
        entries = math.prod(observations.shape or ())
        # An environment may count goals of its own, which are none to choose among.
        shown = [one for one in wrappers_of(first) if isinstance(one, GoalObservations)]
        self.sizes = Sizes(
            observation_dim=entries if self.form is None else self.form.nbytes,
            action_dim=math.prod(actions.shape or ()),
            is_packed=self.form is not None,
            goal_count=shown[0].goal_count if shown else 0,
        )

    @classmethod
    def build(cls, spec: EnvironmentSpec, count: int, *, render_mode: str | None = None) -> "Slots":
        """Slots with new environments.

        Args:
            spec: What to build in each slot.
            count: Number of slots, at least 1.
            render_mode: gymnasium's, for all of them.

        Raises:
            ValueError: If it cannot be built, or is the same one each time.
        """
        environments = [spec.make(render_mode=render_mode) for _ in range(count)]
        if len({id(env.unwrapped) for env in environments}) < count:
            raise ValueError(
                f"{spec.id!r} gave the same environment twice: return a new one at each call, "
                "since several episodes are played side by side."
            )
        return cls(environments)

    def reset(
        self, slots: np.ndarray, seeds: np.ndarray, goals: np.ndarray | None = None
    ) -> np.ndarray:
        """Start an episode in each of the given slots.

        Args:
            slots: Numbers of the slots, [batch].
            seeds: A seed below 2³² for each, [batch].
            goals: The goal of each from 1, or 0 where the environment chooses, [batch]; None for
                0 everywhere.

        Returns:
            The first observations, float32 [batch, obs].
        """
        observations = np.empty((len(slots), self.sizes.observation_dim), self.sizes.dtype)
        goals = np.zeros(len(slots), np.int64) if goals is None else goals
        episodes = zip(slots.tolist(), seeds.tolist(), goals.tolist(), strict=True)
        for row, (slot, seed, goal) in enumerate(episodes):
            env = self.environments[slot]
            chosen = {"options": {"task_id": goal}} if goal else {}
            with _GlobalGenerator(self._generators[slot]):
                np.random.seed(seed)  # noqa: NPY002  (the generator that environments share)
                # OGBench's mazes sample random actions while they reset.
                env.unwrapped.action_space.seed(seed)
                result = env.reset(seed=seed, **chosen)
            observation, _ = self._parts(result, 2, slot, "reset")
            observations[row] = self._observed(observation, slot, "reset")
        return observations

    def step(self, slots: np.ndarray, actions: np.ndarray) -> Steps:
        """Step each of the given slots by its action, float32 [batch, act]."""
        batch = len(slots)
        steps = Steps(
            np.empty((batch, self.sizes.observation_dim), self.sizes.dtype),
            np.empty(batch, np.float64),
            np.empty(batch, np.bool_),
            np.empty(batch, np.bool_),
            np.empty(batch, np.float64),
        )
        for row, slot in enumerate(slots.tolist()):
            with _GlobalGenerator(self._generators[slot]):
                result = self.environments[slot].step(actions[row])
            observation, reward, *ended, info = self._parts(result, 5, slot, "step")
            steps.observations[row] = self._observed(observation, slot, "step")
            steps.rewards[row] = _number(reward, slot, "reward")
            steps.terminated[row], steps.truncated[row] = (_flag(one, slot) for one in ended)
            steps.successes[row] = _success(info, slot)
        return steps

    def close(self) -> None:
        """Close the environments."""
        for env in self.environments:
            env.close()

    def _parts(self, result: Any, count: int, slot: int, call: str) -> tuple[Any, ...]:
        is_whole = isinstance(result, tuple) and len(result) == count
        if not (is_whole and isinstance(result[-1], Mapping)):
            expected = "observation, info"
            if call == "step":
                expected = "observation, reward, terminated, truncated, info"
            given = f"a {type(result).__name__}"
            if isinstance(result, tuple):
                given = f"({', '.join(type(part).__name__ for part in result)})"
            raise ValueError(
                f"{call} of the environment in slot {slot} gave {given}: gymnasium's is the tuple "
                f"({expected}), whose last part is a dictionary"
            )
        return result

    def _observed(self, observation: Any, slot: int, call: str) -> np.ndarray:
        """The observation as float32, or bytes, which must be of the space's shape and finite."""
        if self.form is not None:
            try:
                return self.form.pack(observation)
            except ValueError as error:
                raise ValueError(
                    f"{call} of the environment in slot {slot} gave something else than its "
                    f"space says: {error}"
                ) from None
        given, due = np.asarray(observation), (self.sizes.observation_dim,)
        if given.shape != due or given.dtype.kind not in "fiub":
            raise ValueError(
                f"{call} of the environment in slot {slot} gave an observation of shape "
                f"{given.shape} and dtype {given.dtype}, its space says {due} and floats"
            )
        with np.errstate(over="ignore"):
            observed = given.astype(np.float32)
        if not np.isfinite(observed).all():
            raise ValueError(
                f"{call} of the environment in slot {slot} gave an observation that is not "
                f"finite in float32: {observation}"
            )
        return observed


def _number(value: Any, slot: int, name: str) -> float:
    """A finite number; also one in an array without axes."""
    is_number = isinstance(value, numbers.Real | np.bool_) or (
        hasattr(value, "dtype") and np.shape(value) == () and np.asarray(value).dtype.kind in "fiub"
    )
    if not is_number or not math.isfinite(value):
        raise ValueError(
            f"the environment in slot {slot} gave the {name} {value!r} "
            f"({type(value).__name__}): it must be one finite number"
        )
    return float(value)


def _flag(value: Any, slot: int) -> bool:
    """Whether an episode ended; what is neither true nor false is refused."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = _number(value, slot, "terminated or truncated")
    if number not in (0, 1):
        raise ValueError(
            f"the environment in slot {slot} gave terminated or truncated as {value!r}: each must "
            "be true or false"
        )
    return bool(number)


def _success(info: Mapping[str, Any], slot: int) -> float:
    """Whether the environment reports success, in [0, 1]; NaN where it does not tell."""
    name = "success" if "success" in info else "is_success"
    value = info.get(name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    number = _number(value, slot, f"info[{name!r}]")
    if not 0 <= number <= 1:
        raise ValueError(
            f"the environment in slot {slot} gave info[{name!r}] as {value!r}: it must be true or "
            "false, or between 0 and 1"
        )
    return number


class _GlobalGenerator:
    """Puts a bit generator in the place of numpy's global one for the length of a `with`."""

    def __init__(self, generator: np.random.MT19937):
        self._generator = generator

    def __enter__(self) -> None:
        self._before = np.random.get_bit_generator()  # pyright: ignore
        np.random.set_bit_generator(self._generator)  # pyright: ignore

    def __exit__(self, *_: object) -> None:
        np.random.set_bit_generator(self._before)  # pyright: ignore  (numpy's stubs lack them)
