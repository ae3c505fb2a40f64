"""What is tried of an environment before anything is learned for it, here and in a worker."""

import contextlib
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Space

from floq.envs.actions import as_json, bounds_like, in_words, is_unit, with_unit_actions
from floq.envs.make import (
    MAX_EPISODE_STEPS,
    BuiltEnvironment,
    EnvironmentSpec,
    build,
    with_arguments,
)
from floq.envs.names import WAY_OUT
from floq.envs.observations import form_of_space
from floq.envs.slots import Sizes, Slots
from floq.envs.vector import Worker, WorkerError
from floq.envs.worker import RESET, STEP
from floq.observations import ObservationForm, warn_of_channels

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
"""What -1 and 1 stand for, in an environment's own units."""

_START_SECONDS, _STEP_SECONDS = 300.0, 60.0
_SEED = 0


class Checked(NamedTuple):
    """An environment that was tried.

    Attributes:
        spec: The environment, with what -1 and 1 stand for and its time limit.
        observation_dim: Entries of an observation, or its bytes where it has a form.
        action_dim: Entries of an action.
        bounds: What -1 and 1 stand for, in its own units below any rescaling.
        goal_count: Goals that an episode can be given; 0 if none can.
        form: What the bytes of an observation are; None of vectors.
    """

    spec: EnvironmentSpec
    observation_dim: int
    action_dim: int
    bounds: Bounds
    goal_count: int = 0
    form: ObservationForm | None = None


def preflight(
    spec: EnvironmentSpec,
    *,
    sizes: tuple[int | ObservationForm, int] | None = None,
    bounds: Bounds | None = None,
    is_related: bool = False,
    in_worker: bool = True,
) -> Checked:
    """Makes an environment, resets it twice and steps it, and says what may be a mistake.

    Args:
        spec: The environment.
        sizes: Entries of an observation, or its form, and entries of an action that it must have;
            None for any.
        bounds: What -1 and 1 stand for in the data; None if nobody has said.
        is_related: Whether the meaning of -1 and 1 is settled: there is no data, or the
            environment was related to it before. Otherwise it must be clear now.
        in_worker: Whether to try it in a worker process too.

    Raises:
        ValueError: If something of it fails, in words with a way out.
    """
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(_started(spec.id)) if in_worker else None
        built = build(spec.id, spec.kwargs)
        stack.callback(built.close)
        observations, actions = built.observation_space, built.action_space
        assert isinstance(actions, Box)
        form = form_of_space(observations)
        found = form or math.prod(observations.shape or ()), actions.shape[0]
        if sizes is not None and sizes != found:
            raise ValueError(
                f"The environment {spec.id} has observations and actions of shapes "
                f"{_shapes(found)}, the dataset has {_shapes(sizes)}: give the environment that "
                f"the data was collected in.{_turned(found[0], sizes[0])}"
            )
        if sizes is None:
            warn_of_channels(form)  # Of data it was said already.
        spec = related(spec, built, bounds, is_related=is_related)
        if not built.has_limit:
            warnings.warn(
                f"environment {spec.id!r} has no time limit: its episodes are ended after "
                f"{MAX_EPISODE_STEPS:,} steps. Give another one by max_episode_steps=, to "
                "floq.make_env or where the environment is registered.",
                UserWarning,
                stacklevel=2,
            )
            spec = with_arguments(spec, max_episode_steps=MAX_EPISODE_STEPS)
        bounds_given = (spec.kwargs.get(name) for name in ("action_low", "action_high"))
        env = with_unit_actions(built, spec.id, *bounds_given)
        slots = Slots([env])
        elsewhere = None if worker is None else _played_by(worker, spec, slots.sizes)
        _play(slots, spec, observations, elsewhere)
        own_units = _in_own_units(spec, built)
        return Checked(spec, *slots.sizes[:2], own_units, slots.sizes.goal_count, form)


def _shapes(sizes: tuple[int | ObservationForm, int]) -> str:
    """Sizes of an observation and an action, in words."""
    shapes = (f"({one},)" if isinstance(one, int) else f"({one})" for one in sizes)
    return f"({', '.join(shapes)})"


def _turned(*seen: int | ObservationForm) -> str:
    """What may have been done to images of one of the two alone: axes were moved."""
    axes = [
        {part.name: sorted(part.shape) for part in one.parts}
        for one in seen
        if isinstance(one, ObservationForm)
    ]
    if len(axes) != len(seen) or axes[0] != axes[1]:
        return ""
    return " Only the axes differ: both must have images as (height, width, channels)."


def related(
    spec: EnvironmentSpec, built: BuiltEnvironment, bounds: Bounds | None, *, is_related: bool
) -> EnvironmentSpec:
    """The environment, with what -1 and 1 stand for as its data has it.

    Raises:
        ValueError: If the two contradict each other, or nobody has said.
    """
    space, name = built.action_space, spec.id
    assert isinstance(space, Box)
    own = _own_meaning(spec, built)
    is_given = not {"action_low", "action_high"}.isdisjoint(spec.kwargs)
    if bounds is None:
        if not np.isfinite(own).all():
            return spec  # Refused where actions are scaled.
        if not (is_related or is_given or is_unit(space)):
            raise ValueError(_unrelated(name, space))
        return spec if is_given or is_unit(space) else _with_meaning(spec, own)
    found = bounds_like(space, bounds, "action_low and action_high of the data")
    # The data may speak of the units below a rescaling or of those above: both are the same then.
    if (is_given and _same(found, own)) or (
        (is_given or is_unit(space)) and _same(found, _below(own, built))
    ):
        return spec
    if is_given:
        raise ValueError(
            f"-1 and 1 stand for {in_words(found[0])} and {in_words(found[1])} in the data, and "
            f"for {in_words(own[0])} and {in_words(own[1])} in environment {name!r}: give the same "
            "action_low and action_high to both, or leave them out for the environment."
        )
    if not is_unit(space) or not _same(found, own):
        return _with_meaning(spec, found)
    assert built.unscaled is not None
    low, high = in_words(built.unscaled.low), in_words(built.unscaled.high)
    warnings.warn(
        f"the actions of environment {name!r} are rescaled from {low} and {high} to -1 and 1, and "
        "the data says that its -1 and 1 stand for themselves: they are taken as rescaled "
        "actions. If they are in the environment's own units, give it without the rescaling.",
        UserWarning,
        stacklevel=2,
    )
    return spec


def meaning(spec: EnvironmentSpec) -> Bounds:
    """What -1 and 1 stand for in an environment, in its own units below any rescaling.

    Raises:
        ValueError: If it cannot be built.
    """
    built = build(spec.id, spec.kwargs)
    found = _in_own_units(spec, built)
    built.close()
    return found


def _in_own_units(spec: EnvironmentSpec, built: BuiltEnvironment) -> Bounds:
    low, high = _below(_own_meaning(spec, built), built)
    return tuple(low.tolist()), tuple(high.tolist())


def _own_meaning(spec: EnvironmentSpec, built: BuiltEnvironment) -> tuple[np.ndarray, np.ndarray]:
    """What -1 and 1 stand for, in the units above the rescaling that was asked for."""
    space = built.action_space
    assert isinstance(space, Box)
    low, high = spec.kwargs.get("action_low"), spec.kwargs.get("action_high")
    if low is None and high is None:
        return space.low, space.high
    bounds = (space.low if low is None else low), (space.high if high is None else high)
    return bounds_like(space, bounds, f"action_low and action_high of {spec.id!r}")


def _below(own: tuple[np.ndarray, np.ndarray], built: BuiltEnvironment) -> Any:
    """The same in the units below the rescaling."""
    above, below = built.action_space, built.unscaled
    if below is None:
        return own
    assert isinstance(above, Box)
    scale = (below.high - below.low) / (above.high - above.low)
    return tuple(below.low + scale * (bound - above.low) for bound in own)


def _with_meaning(spec: EnvironmentSpec, bounds: tuple[np.ndarray, np.ndarray]) -> EnvironmentSpec:
    return with_arguments(spec, action_low=as_json(bounds[0]), action_high=as_json(bounds[1]))


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return bool(np.allclose(left, right, rtol=1e-5, atol=0.0))


def _unrelated(name: str, space: Box) -> str:
    low, high = in_words(space.low), in_words(space.high)
    return (
        f"environment {name!r} takes actions from {low} to {high}, the dataset's lie in [-1, 1], "
        f"and nobody has said how the two scales belong together. If the data was in the "
        f"environment's units, say so where the dataset is made: action_low={low}, "
        f"action_high={high} (--action-low, --action-high). If its actions were scaled to [-1, 1], "
        "give the environment with that scaling: gymnasium.wrappers.RescaleAction(env, -1, 1) or "
        f"floq.make_env({name!r}) (--scaled-actions)."
    )


def _play(
    slots: Slots, spec: EnvironmentSpec, space: Space, elsewhere: Sequence[np.ndarray] | None
) -> None:
    """Resets the environment twice and steps it, and says what may be a mistake."""
    slot, seeds = np.zeros(1, np.int64), np.full(1, _SEED)
    times: list[Sequence[np.ndarray]] = [] if elsewhere is None else [elsewhere]
    for again in ("", " again"):
        with _trying(spec.id, f"reset{again}"):
            first = slots.reset(slot, seeds)
        with _trying(spec.id, f"stepped{again} by a middle action"):
            steps = slots.step(slot, np.zeros((1, slots.sizes.action_dim), np.float32))
        times.append([first, *steps])
    if not all(
        np.array_equal(one, other, equal_nan=True)
        for time in times[:-1]
        for one, other in zip(time, times[-1], strict=True)
    ):
        warnings.warn(
            f"environment {spec.id!r} does not repeat itself: with the same seed and action it "
            "showed something else. Evaluations of it do not repeat either, and training in it "
            "cannot be resumed to the bit. Draw all that is random from self.np_random, after "
            "super().reset(seed=seed).",
            UserWarning,
            stacklevel=2,
        )
    if slots.form is not None:
        return  # Every byte is within an image's bounds.
    assert isinstance(space, Box)
    seen = np.concatenate([part for time in times for part in time[:2]])
    slack = 1e-5 * np.abs(seen)
    outside = ((seen < space.low - slack) | (seen > space.high + slack)).any(axis=0)
    if outside.any():
        entry = int(np.argmax(outside))
        warnings.warn(
            f"environment {spec.id!r} showed an observation outside of its observation space: "
            f"{outside.sum()} of {outside.size} entries, the first one of them number {entry} with "
            f"{in_words(seen[:, entry].max())}, where the space says {space.low[entry]:g} to "
            f"{space.high[entry]:g}. The networks take it as it is.",
            UserWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def _trying(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"environment {name!r} failed when it was {what}, before the first update: "
            f"{type(error).__name__}: {error}. A reset must return (observation, info), and a step "
            "(observation, reward, terminated, truncated, info), of its spaces' shapes and finite."
        ) from error


@contextlib.contextmanager
def _started(name: str) -> Iterator[Worker]:
    """A worker process, which begins to import while this process builds the environment."""
    worker = Worker(f"the worker that tried {name!r}")
    try:
        yield worker
    finally:
        worker.hang_up()
        worker.close(time.monotonic() + 5.0)


def _played_by(worker: Worker, spec: EnvironmentSpec, sizes: Sizes) -> Sequence[np.ndarray]:
    """What a reset and a step in a worker process gave."""
    slot, way_out = np.zeros(1, np.int32), f"{WAY_OUT} "
    try:
        worker.start(spec, 1, 2 * _STEP_SECONDS)
        found = worker.started(time.monotonic() + _START_SECONDS)
        if found != sizes:
            raise ValueError(
                f"environment {spec.id!r} has other sizes in a worker process, {tuple(found)}, "
                f"than here, {tuple(sizes)}: {WAY_OUT}"
            )
        way_out = ""  # It was imported there.
        worker.send(RESET, slot, np.array([[_SEED, 0]], np.uint32))
        (first,) = worker.receive(RESET, 1, time.monotonic() + _STEP_SECONDS)
        worker.send(STEP, slot, np.zeros((1, sizes.action_dim), np.float32))
        return [first, *worker.receive(STEP, 1, time.monotonic() + _STEP_SECONDS)]
    except WorkerError as error:
        raise ValueError(
            f"environment {spec.id!r} does not work in a worker process, where it is evaluated. "
            f"{way_out}What went wrong: {error}"
        ) from error
