"""Datasets of one environment, one after the other."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Set = TypeVar("Set", bound=Any)
"""A dataset, which is defined with what joins several of them."""


def join(datasets: Sequence[Set], *, source: str) -> Set:
    """The transitions of several datasets, one after the other.

    Args:
        datasets: One or more, of equal sizes and bounds.
        source: What they are called in messages.

    Raises:
        ValueError: If they differ.
    """
    if len(datasets) == 1:
        return datasets[0]
    forms = [_form(one) for one in datasets]
    for number, form in enumerate(forms, start=1):
        for what, value in form.items():
            if value != forms[0][what]:
                raise ValueError(
                    f"{source}: {what}: {forms[0][what]} in the first set, and {value} in set "
                    f"{number}: join sets of one environment"
                )
    start, parts = 0, list[Any]()
    for one in datasets:
        parts.append(dataclasses.replace(one, transitions=one.transitions + start))
        start += len(one.rewards)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _form(dataset: Any) -> dict[str, Any]:
    """What sets must share, in words."""
    return {
        "entries of an observation": dataset.form or dataset.observations.shape[1:],
        "entries of an action": dataset.actions.shape[1:],
        "bounds of actions": (dataset.action_low, dataset.action_high),
    }
