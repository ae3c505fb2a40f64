"""Checks floq against recorded updates: `python tests/golden.py FILE...`.

Each file holds one update of a small agent of the published runs with every random draw written
out: config, batch, parameters, draws, and what came out. Prints the largest relative error of
each group, and exits with 1 if one is beyond its tolerance.
"""

import sys
from pathlib import Path

import jax
from golden_baselines import replay_ifql, replay_iql, replay_rebrac
from golden_files import flatten, read, relative_error, tree_error
from golden_flows import replay_floq, replay_fql, replay_fqliqn

TOLERANCES = {"expected": 1e-5, "grads": 1e-4, "updated": 1e-4}
REPLAYS = {
    "floq": replay_floq,
    "fql": replay_fql,
    "fqliqn": replay_fqliqn,
    "rebrac": replay_rebrac,
    "iql": replay_iql,
    "ifql": replay_ifql,
}
# The first uses a draw of its own, which is not recorded, where the policy is random; the second
# says nothing where it is deterministic. They are compared where an update of ours has them.
UNKNOWN = {"actor/mse", "actor/std"}


def errors_of(path: Path) -> dict[str, float]:
    """The largest relative error of each group of a golden file."""
    settings, arrays = read(path)
    replay = REPLAYS.get(settings["agent_name"])
    if replay is None:
        raise ValueError(
            f"{path}: no algorithm here is called {settings['agent_name']!r}: there are "
            f"{', '.join(REPLAYS)}."
        )
    ours = replay(settings, arrays)
    recorded = flatten(arrays["expected"])
    return {
        "expected": max(
            relative_error(ours.expected[name], value)
            for name, value in recorded.items()
            if name in ours.expected or name not in UNKNOWN
        ),
        "grads": tree_error(*ours.gradients),
        "updated": tree_error(*ours.updated),
    }


def main(paths: list[str]) -> int:
    """Prints a line a file; 1 if an error is beyond its tolerance, 2 without a file."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    passed = True
    for path in paths:
        errors = errors_of(Path(path))
        good = all(errors[group] <= TOLERANCES[group] for group in TOLERANCES)
        passed &= good
        figures = "  ".join(f"{group} {error:.1e}" for group, error in errors.items())
        print(f"{'ok  ' if good else 'FAIL'}  {path}  {figures}")
    return 0 if passed else 1


if __name__ == "__main__":
    with jax.default_matmul_precision("highest"):
        sys.exit(main(sys.argv[1:]))
