"""Spaces of gymnasium as Minari's metadata describes them, in text."""

import json
from typing import Any, NamedTuple

import numpy as np

from floq.data.bounds import ActionBounds


class Leaf(NamedTuple):
    """A space without parts.

    Attributes:
        shape: Of a value.
        dtype: Of its entries.
        choices: Of a discrete one, how many there are.
        start: And the first of them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    choices: int = 0
    start: int = 0


def space_of(metadata: dict[str, Any], name: str, source: str) -> dict[str, Any]:
    """A space of the metadata, which holds JSON in a text.

    Raises:
        ValueError: If there is none.
    """
    try:
        space = json.loads(metadata[name])
        if isinstance(space, dict):
            return space
        raise TypeError("it is no object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{source}: {name} cannot be read ({type(error).__name__}: {error}): it is damaged"
        ) from error


def leaves_of(space: dict[str, Any], source: str, prefix: str = "") -> dict[str, Leaf]:
    """The spaces that observations are made of, by name; "" where there is only one."""
    kind = space.get("type")
    where = f"{source}: observation_space{f', {prefix}' if prefix else ''}"
    try:
        if kind in ("Dict", "Tuple"):
            inner = space["subspaces"]
            if kind == "Tuple":
                inner = {f"_index_{index}": part for index, part in enumerate(inner)}
            if prefix.count("/") > 8 or any("/" in name or not name for name in inner):
                raise ValueError("its parts are too deep, or have no names, or / in them")
            found: dict[str, Leaf] = {}
            for name, part in inner.items():
                found |= leaves_of(part, source, f"{prefix}/{name}".removeprefix("/"))
            return found
        if kind in ("Box", "MultiBinary"):
            shape = space["shape"] if kind == "Box" else space["n"]
            shape = tuple(shape) if isinstance(shape, list) else (shape,)
            dtype = np.dtype(space["dtype"] if kind == "Box" else "int8")
            if all(type(size) is int and size > 0 for size in shape) and dtype.kind in "fiub":
                return {prefix: Leaf(shape, dtype)}
            raise ValueError(f"its shape is {shape} and its dtype {dtype}")
        if kind == "Discrete":
            choices, start = space["n"], space.get("start", 0)
            if type(choices) is int and type(start) is int and 0 < choices <= 10_000:
                return {prefix: Leaf((), np.dtype("int64"), choices, start)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    raise ValueError(f"{where} is {kind!r}: floq reads Box, MultiBinary, Discrete, Dict and Tuple")


def bounds_of(space: dict[str, Any], source: str) -> ActionBounds | None:
    """What actions lie within, of a box that has bounds."""
    if space.get("type") != "Box":
        raise ValueError(
            f"{source}: action_space is {space.get('type')!r}: give a Box (floq has no discrete "
            "actions)"
        )
    try:
        low, high = (np.ravel(space[side]).astype(np.float32) for side in ("low", "high"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source}: action_space has no bounds that can be read") from error
    if low.size != high.size or not (low.size and (low < high).all()):
        raise ValueError(
            f"{source}: action_space has a lower bound that is not below its upper one"
        )
    if not np.isfinite(low).all() or not np.isfinite(high).all():
        return None
    return ActionBounds(tuple(low.tolist()), tuple(high.tolist()))


def encoded(values: np.ndarray, leaf: Leaf) -> np.ndarray:
    """Values as FlattenObservation gives them: of discrete ones a 1 in the place of each."""
    if not leaf.choices:
        return values
    return (values[:, None] - leaf.start == np.arange(leaf.choices)).astype(np.float32)
