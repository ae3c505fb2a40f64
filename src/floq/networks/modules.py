"""Modules inside of others, and their arrays: found, named, replaced, changed in what is none."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import jax

Module = TypeVar("Module")


def holds(tree: Any, kind: type) -> bool:
    """Whether there is a module of a kind in a tree."""
    is_one = lambda node: isinstance(node, kind)
    return any(map(is_one, jax.tree.leaves(tree, is_leaf=is_one)))


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their path, such as `policy.layers.0.kernel`, as files name them.

    Raises:
        ValueError: If two have the same name.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("Two arrays of the state have the same name: give the fields other names.")
    return named


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
