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
        TypeError: If no algorithm of this library has such a config.
    """
    for name, algorithm in ALGORITHMS.items():
        if isinstance(config, algorithm.Config):
            return name, algorithm
    raise TypeError(
        f"{type(config).__name__} is not an algorithm's config: give one of "
        + ", ".join(f"floq.algorithms.{name}.Config" for name in ALGORITHMS)
    )
