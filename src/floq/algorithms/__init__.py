"""Algorithms: short files that wire a critic and a policy together."""

from typing import Any

from floq.algorithms import altered, bc, floq, fql, ifql, iql, rebrac
from floq.types import Algorithm

ALGORITHMS: dict[str, Algorithm] = {
    "floq": floq,
    "fql": fql,
    "rebrac": rebrac,
    "iql": iql,
    "ifql": ifql,
    "bc": bc,
    "altered": altered,
}


def algorithm_of(config: Any) -> tuple[str, Algorithm]:
    """The name and the algorithm that a config belongs to.

    Raises:
        TypeError: If no algorithm has such a config. A class derived from a `Config` is another
            one: what it adds, the algorithm would not know.
    """
    for name, algorithm in ALGORITHMS.items():
        if type(config) is algorithm.Config:
            return name, algorithm
    known = ", ".join(f"floq.algorithms.{name}.Config" for name in ALGORITHMS)
    kind = type(config).__name__ if not isinstance(config, type) else f"the class {config.__name__}"
    for name, algorithm in ALGORITHMS.items():
        if isinstance(config, algorithm.Config):
            raise TypeError(
                f"{kind} is derived from floq.algorithms.{name}.Config, which {name} would take "
                f"for its own without what {kind} adds: give a floq.algorithms.{name}.Config "
                "itself, or add an algorithm that has this config to floq.algorithms.ALGORITHMS."
            )
    raise TypeError(f"{kind} is not an algorithm's config: give one of {known}.")
