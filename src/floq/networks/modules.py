"""Modules inside of others: found, replaced, and changed in what is no array."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import jax

Module = TypeVar("Module")


def holds(tree: Any, kind: type) -> bool:
    """Whether there is a module of a kind in a tree."""
    is_one = lambda node: isinstance(node, kind)
    return any(map(is_one, jax.tree.leaves(tree, is_leaf=is_one)))


def replaced(tree: Any, kind: type[Module], change: Callable[[Module], Any]) -> Any:
    """The tree with what `change` makes of each module of a kind in its place."""
    is_one = lambda node: isinstance(node, kind)
    return jax.tree.map(lambda node: change(node) if is_one(node) else node, tree, is_leaf=is_one)


def with_static(module: Module, **fields: Any) -> Module:
    """The module with other static fields, which `equinox.tree_at` leaves as they are."""
    changed = copy.copy(module)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)  # Modules are frozen.
    return changed
