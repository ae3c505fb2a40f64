"""What the benchmarks share: parts that take turns, and the machine they ran on."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from floq.workers import available_cores


def alternate(parts: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each part in every round, after one to warm up.

    Every other round goes backwards, so that no part always follows the same one.

    Args:
        parts: What to time, by name.
        rounds: How often they take turns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name in list(parts)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            parts[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def median(values: Sequence[float] | np.ndarray) -> float:
    """The median, to four digits."""
    return float(f"{statistics.median(values):.4g}")


def machine() -> dict[str, Any]:
    """Versions, device and cores, as the results name them."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "processor": _processor(),
        "cores": available_cores(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
