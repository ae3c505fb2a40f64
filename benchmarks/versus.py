"""This tree against another one: `python -m benchmarks.versus --tree ../before`.

Each tree trains in a process of its own, which stays and makes updates when it is told to. They
take turns, so that whatever else the machine does meets both. The other tree is a worktree of any
commit with a `benchmarks.update` of its own: `git worktree add ../before 89eaf98` gives the state
that the ratios on the performance page refer to.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import median

HERE = Path(__file__).resolve().parent.parent


class Trainer:
    """A training in a process of its own, of a tree's own code."""

    def __init__(self, tree: Path, case: str):
        """Starts it and waits until its first update is made.

        Args:
            tree: A checkout.
            case: Algorithm, size, K and number of seeds, as `floq,small,4,1`.

        Raises:
            RuntimeError: If the process does not get that far.
        """
        paths = os.pathsep.join([str(tree / "src"), str(tree)])
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve", case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=os.environ | {"PYTHONPATH": paths},
        )
        self.first = self._answer()

    def seconds(self, updates: int) -> float:
        """How long that many updates take."""
        assert self._process.stdin is not None
        print(updates, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended: its error is above.")
        return float(line)


def serve(case: str) -> None:
    """Makes one update, then as many as each line of the input says, and answers in seconds."""
    # Answers go where the output went; whatever else is printed goes with the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = _training(case)
    for updates in itertools.chain([1], map(int, sys.stdin)):
        started = time.perf_counter()
        run(updates)
        print(time.perf_counter() - started, file=answers, flush=True)


def _training(case: str) -> Any:
    """The updates of this process's own tree, whatever its age."""
    from benchmarks import update

    algorithm, size, steps, seeds = case.split(",")
    name = "fql" if algorithm == "fql" else "floq"
    known: Any = getattr(update, "ALGORITHMS", None)
    rule = known[name] if known else update.find_algorithm(name)
    config = update.config_of(algorithm, size, int(steps))
    dataset = update.Dataset.from_trajectories(**update.data())
    make: Any = getattr(update.Learner, "of", update.Learner)
    return update._Training(make(rule, config), dataset, int(seeds)).run


def compare(case: str, tree: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Updates a second of both trees, and their ratio in every round.

    Args:
        case: Algorithm, size, K and number of seeds.
        tree: The other tree.
        rounds: How often they take turns.
        seconds: About how long each takes in a round.
    """
    trainers = {"before": Trainer(tree, case), "here": Trainer(HERE, case)}
    try:
        counts = {
            name: max(1, round(2 * seconds / trainer.seconds(2)))
            for name, trainer in trainers.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in trainers}
        for number in range(rounds):
            for name in list(trainers)[:: 1 if number % 2 else -1]:
                rates[name].append(counts[name] / trainers[name].seconds(counts[name]))
    finally:
        for trainer in trainers.values():
            trainer.close()
    ratios = np.divide(rates["here"], rates["before"])
    return {
        "case": case,
        "before": median(rates["before"]),
        "here": median(rates["here"]),
        "ratio": median(ratios),
        "ratio_range": [float(f"{side(ratios):.4g}") for side in (np.min, np.max)],
        "first_update_seconds": {name: round(own.first, 1) for name, own in trainers.items()},
    }


def main() -> None:
    """Measures every case and prints it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus")
    parser.add_argument("--tree", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each tree in a round")
    parser.add_argument("--serve", metavar="CASE", help=argparse.SUPPRESS)
    parser.add_argument(
        "cases",
        nargs="*",
        default=["floq,small,4,1", "fql,small,4,1", "floq,paper,8,1", "fql,paper,8,1"],
        help="algorithm,size,K,seeds",
    )
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.tree is None:
        parser.error("--tree names the other checkout, a folder")
    for case in options.cases:
        found = compare(case, options.tree, rounds=options.rounds, seconds=options.seconds)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
