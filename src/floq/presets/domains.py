"""The datasets of published tables, and what the methods share on each."""

import dataclasses
from typing import Any, NamedTuple


class Domain(NamedTuple):
    """What the paper's methods share on a dataset.

    Attributes:
        default_task: The task that a name without a task's number means.
        discount: γ.
        batch_size: Transitions an update.
        aggregation: How the members of the critic become one in targets.
        bc_coefficient: α of floq and of FQL.
    """

    default_task: int
    bc_coefficient: float
    discount: float = 0.99
    batch_size: int = 256
    aggregation: Any = "mean"


DOMAINS = {
    "antmaze-large-navigate-v0": Domain(1, 10.0),
    "antmaze-giant-navigate-v0": Domain(1, 10.0, 0.995, 512, "min"),
    "humanoidmaze-medium-navigate-v0": Domain(1, 30.0, 0.995),
    "humanoidmaze-large-navigate-v0": Domain(1, 20.0, 0.995, 512),
    "antsoccer-arena-navigate-v0": Domain(4, 10.0, 0.995),
    "cube-single-play-v0": Domain(2, 300.0),
    "cube-double-play-v0": Domain(2, 300.0),
    "scene-play-v0": Domain(2, 300.0),
    "puzzle-3x3-play-v0": Domain(4, 1000.0),
    "puzzle-4x4-play-v0": Domain(4, 1000.0),
}
"""The paper's ten domains, by the exact name of the dataset."""

VISUAL = {
    "visual-cube-single-play-v0": 300.0,
    "visual-cube-double-play-v0": 100.0,
    "visual-scene-play-v0": 100.0,
    "visual-puzzle-3x3-play-v0": 300.0,
    "visual-puzzle-4x4-play-v0": 300.0,
}
"""α of FQL on the visual datasets of arXiv 2502.02538."""


def configs_by_domain(
    base: Any, changes: dict[str, dict[str, Any]] | None = None, *, only_changed: bool = False
) -> dict[str, Any]:
    """`base` for every domain, with the domain's own settings and then with `changes`.

    A change named `critic` holds changes of the critic's config.
    """
    configs = {}
    for name, domain in DOMAINS.items():
        if only_changed and name not in (changes or {}):
            continue
        change = dict((changes or {}).get(name, {}))
        critic = {"aggregation": domain.aggregation, **change.pop("critic", {})}
        configs[name] = dataclasses.replace(
            base,
            critic=dataclasses.replace(base.critic, **critic),
            **{
                "discount": domain.discount,
                "batch_size": domain.batch_size,
                "bc_coefficient": domain.bc_coefficient,
                **change,
            },
        )
    return configs


def discounted_by_domain(base: Any) -> dict[str, Any]:
    """`base` for every domain, with the domain's own discount and batch size."""
    return {
        name: dataclasses.replace(base, discount=domain.discount, batch_size=domain.batch_size)
        for name, domain in DOMAINS.items()
    }
