"""What an exported policy costs an action, in each format, beside the policy in training.

Beside each policy stand the seconds that its export takes, the check included.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import floq
from floq.algorithms import algorithm_of
from floq.export import Trained, export_policy, load_policy
from floq.export.floq_policy import draw_noise
from floq.export.formats import WRITERS, Format
from floq.extras import is_installed
from floq.types import Statistics

_STATISTICS = Statistics(observation_dim=37, action_dim=5, reward_min=-1.0, reward_max=0.0)
_CONFIGS = {
    "one-step policy": floq.FloqConfig(),
    "behaviour flow, 10 steps": floq.BCConfig(),
    "best of 32 by the flow critic": floq.FloqConfig(candidates=32),
}


def main() -> None:
    """Prints a table of milliseconds, those of the fastest call, and the exports' seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--only", nargs="+", choices=_CONFIGS, default=list(_CONFIGS))
    options = parser.parse_args()
    seconds = options.seconds
    formats: list[Format] = [kind for kind in WRITERS if kind != "onnx" or is_installed("export")]
    print(f"| policy | batch | in training | {' | '.join(formats)} |")
    print("|---|---|---|" + "---|" * len(formats))
    for name in options.only:
        trained = _untrained(_CONFIGS[name])
        with tempfile.TemporaryDirectory() as place:
            policies: list[Any] = []
            exports = []
            for kind in formats:
                started = time.perf_counter()
                folder = export_policy(trained, Path(place) / kind, format=kind)
                exports.append(time.perf_counter() - started)
                policies.append(load_policy(folder))
        print(
            f"| {name} | export, s | | {' | '.join(f'{one:.3g}' for one in exports)} |", flush=True
        )
        for batch in (1, 256):
            rows = np.random.default_rng(0).normal(size=(batch, 37)).astype(np.float32)
            times = [_training(trained, rows, seconds)]
            for policy in policies:
                inputs = [rows, *draw_noise(policy.record, batch, [0])]
                call = functools.partial(policy.program, *inputs)
                times.append(_fastest(lambda call=call: np.asarray(call()), seconds))
            shown = " | ".join(f"{1e3 * one:.3g}" for one in times)
            print(f"| {name} | {batch} | {shown} |", flush=True)


def _untrained(config: Any) -> Trained:
    name, algorithm = algorithm_of(config)
    state = algorithm.init(config, _STATISTICS, key=jax.random.key(0))
    return Trained(algorithm, name, config, state, _STATISTICS, (-1.0,) * 5, (1.0,) * 5, {})


def _training(trained: Trained, rows: np.ndarray, seconds: float) -> float:
    """The policy as an evaluation calls it, without the making of its keys."""
    act, config = trained.algorithm.act, trained.config
    keys = jax.random.split(jax.random.key(0), len(rows))
    compiled = jax.jit(lambda state, observations: act(config, state, observations, keys=keys))
    return _fastest(lambda: np.asarray(compiled(trained.state, jnp.asarray(rows))), seconds)


def _fastest(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call, which other programs disturb least, after one that compiles."""
    call()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
