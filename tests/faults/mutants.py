"""Wrong lines, one at a time, in a copy of floq: do the tests notice them?

Each mutant of mutants.toml is put into the copy, and the fast tests of its module are run up to the
first that fails. A mutant that no test notices survives.
"""

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.page import put_between

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("src", "tests", "benchmarks", "pyproject.toml")
_SECONDS = 300
"""A test that takes longer, as a loop without an end would, has noticed too."""
# Of each part of floq the tests that speak of it, quick ones first.
_PROPERTIES = "tests/test_properties.py"
_CRITICS = ("tests/networks", "tests/critics/test_protocol.py", "tests/critics/test_flow.py")
_TRAINING = tuple(
    f"tests/training/test_{name}.py"
    for name in "seed_groups offline_phase online online_settings online_cuts finetune".split()
)
_TESTS = {
    "losses.py": ("tests/test_losses.py", _PROPERTIES),
    "flow_matching.py": ("tests/test_flow_matching.py", _PROPERTIES),
    "networks/": (*_CRITICS, _PROPERTIES),
    "critics/": (*_CRITICS, _PROPERTIES),
    "policies/": ("tests/policies", "tests/algorithms", "tests/test_golden.py"),
    "algorithms/": ("tests/algorithms", "tests/test_golden.py"),
    "data/": tuple(f"tests/data/test_{name}.py" for name in ("dataset", "trajectories", "replay")),
    "studies/": ("tests/studies/test_altered.py",),
    "runs/": _TRAINING,
    "training/": _TRAINING,
}
# These take half of the time and find nothing that the others do not look at.
_LEFT_OUT = (
    "exact_values",
    "every_scale",
    "wrong_number",
    "residual",
    "min_aggregation",
    "in_ticks",
)
_ENOUGH = 0.85
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Mutant(NamedTuple):
    """A wrong line.

    Attributes:
        file: The file, below src/floq.
        what: What is wrong.
        old: Text that is in the file once.
        new: What stands in its place.
    """

    file: str
    what: str
    old: str
    new: str


def read_mutants() -> list[Mutant]:
    """All that are tried."""
    files = tomllib.loads((ROOT / "tests" / "faults" / "mutants.toml").read_text())
    return [Mutant(file, **entry) for file, entries in files.items() for entry in entries]


def main() -> int:
    """Tries the mutants and writes what became of them; 1 if too few were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("--only", metavar="WORD", help="mutants whose file or words contain it")
    parser.add_argument("--output", type=Path, default=Path("mutants.json"))
    parser.add_argument("--page", type=Path, help="a page that is to show the outcome")
    options = parser.parse_args()
    chosen = [m for m in read_mutants() if (options.only or "") in f"{m.file} {m.what}"]
    rows = []
    with tempfile.TemporaryDirectory(prefix="floq-mutants-") as folder:
        for row in try_mutants(chosen, Path(folder)):
            rows.append(row)
            print(f"{row['file']}: {row['what']}: {row['outcome']}", flush=True)
    found = summary(rows)
    options.output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    if options.page:
        put_between(options.page, "mutants", in_words(found))
    print(f"{found['killed']} of {found['mutants']} mutants were noticed.")
    return 0 if found["killed"] >= _ENOUGH * found["mutants"] else 1


def try_mutants(mutants: Sequence[Mutant], folder: Path) -> Iterator[dict[str, Any]]:
    """What becomes of each mutant.

    Args:
        mutants: They are tried in order.
        folder: An empty folder for the copy.

    Raises:
        ValueError: If a mutant's line is not there exactly once.
        RuntimeError: If the tests fail without a mutant, or cannot be run.
    """
    for mutant in mutants:
        mutated(mutant, ROOT)
    for name in _COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    _prepare(folder)
    for tests in dict.fromkeys(tests_of(mutant) for mutant in mutants):
        status, said = _run(folder, tests)
        if status != 0:
            raise RuntimeError(f"{', '.join(tests)} fail without a mutant: {said[-2000:]}")
    for number, mutant in enumerate(mutants, start=1):
        path = folder / "src" / "floq" / mutant.file
        sound, changed = path.read_text(), mutated(mutant, folder)
        started = time.monotonic()
        try:
            path.write_text(changed)
            # Compiled files are told apart by time and size, which two mutants may share.
            os.utime(path, (number, number))
            status, said = _run(folder, tests_of(mutant))
        finally:
            path.write_text(sound)
        if status not in (0, 1, 2, -signal.SIGALRM):
            raise RuntimeError(f"the tests of {mutant} ended with {status}: {said[-2000:]}")
        failed = _FAILED.search(said)
        yield {
            **mutant._asdict(),
            "outcome": "killed" if status else "survived",
            "by": failed[1] if status and failed else "",
            "seconds": round(time.monotonic() - started, 1),
        }


def tests_of(mutant: Mutant) -> tuple[str, ...]:
    """The files of tests that a mutant is tried on."""
    (tests,) = (tests for start, tests in _TESTS.items() if mutant.file.startswith(start))
    return tests


def mutated(mutant: Mutant, root: Path) -> str:
    """The source with the mutant in it.

    Raises:
        ValueError: If what it replaces is not there exactly once.
    """
    source = (root / "src" / "floq" / mutant.file).read_text()
    count = source.count(mutant.old)
    if count != 1:
        raise ValueError(
            f"{mutant.file} has {mutant.old!r} {count} times: change the mutant {mutant.what!r} "
            "so that it replaces one place of today's source."
        )
    return source.replace(mutant.old, mutant.new)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts, and the rows."""
    killed = sum(row["outcome"] == "killed" for row in rows)
    return {"mutants": len(rows), "killed": killed, "rows": list(rows)}


def in_words(found: dict[str, Any]) -> str:
    """The outcome as the page shows it."""
    share = found["killed"] / found["mutants"]
    survived = [row for row in found["rows"] if row["outcome"] == "survived"]
    lines = [f"{found['killed']} of {found['mutants']} were noticed, {share:.0%}."]
    if survived:
        lines += [" Survivors:", ""]
        lines += [f"- `{row['file']}`: {row['what']}" for row in survived]
        return lines[0] + lines[1] + "\n" + "\n".join(lines[2:])
    return lines[0]


def _prepare(folder: Path) -> None:
    """Imports once what all tests import, but for floq itself."""
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PLATFORMS": "cpu",
    }
    for name in ("jax.numpy", "scipy.stats", "equinox", "optax", "gymnasium", "pytest"):
        importlib.import_module(name)


def _run(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """The exit status of the tests on the copy, negative for a signal, and what they said."""
    log = folder / "said"
    # Forked: to import everything anew would take longer than most of the tests.
    child = os.fork()
    if child == 0:
        try:
            os._exit(_test(folder, log, tests))
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")


def _test(folder: Path, log: Path, tests: Sequence[str]) -> int:
    import pytest

    signal.alarm(_SECONDS)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(folder)
    sys.path[:0] = [str(folder / "src"), str(folder)]
    left_out = " and ".join(f"not {name}" for name in _LEFT_OUT)
    return pytest.main(
        [
            *"-x -q -n 0 -p no:cacheprovider --hypothesis-seed 0 -m".split(),
            "not slow",
            *("-k", left_out, "-W", "ignore::pytest.PytestAssertRewriteWarning"),
            *tests,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
