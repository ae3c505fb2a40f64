"""Generation of a whole dataset by several processes that can be stopped and continued."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from floq.data.generation.parts import Part, is_complete, merge_parts, plan_parts, replace_file
from floq.data.generation.recipes import Recipe, find_recipe
from floq.data.paths import dataset_files
from floq.disk import read_json, writable, writing
from floq.extras import require_extra
from floq.progress import ProgressDisplay
from floq.settings import takes_settings
from floq.streams import complain
from floq.workers import Worker, start_worker

_PACKAGES = ("floq", "gymnasium", "mujoco", "numpy", "ogbench", "scipy")
"""The packages whose version can change what is collected."""


@takes_settings("episodes", "processes", "seed", "steps")
def generate(
    name: str,
    *,
    episodes: int | None = None,
    processes: int = 1,
    seed: int = 0,
    directory: Path,
    steps: int | None = None,
    progress: bool = True,
) -> Path:
    """Collects an OGBench dataset with the controllers and settings of the published one.

    Episode i is a function of the seed and i alone, so the files do not depend on `processes`.
    Finished episodes are kept, ten to a part, in a hidden folder beside the target: a call that
    was stopped, by whatever means, is continued by the same call.

    Args:
        name: The dataset, like `"cube-double-play-v0"`; `generatable_names()` lists all.
        episodes: Trajectories of the training file; the validation file gets a tenth of that,
            and one at least. The published number by default.
        processes: Processes that collect at the same time.
        seed: Any non-negative number.
        directory: Where `NAME.npz`, `NAME-val.npz` and `NAME.json` (the settings) are written.
        steps: Rows of a trajectory. The published number by default.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The training file.

    Raises:
        ValueError: If the name is unknown, a number is out of range, or the dataset exists but
            was made with other settings.
        RuntimeError: If a collecting process fails, or OGBench is not installed.
        OSError: If the directory cannot be written.
    """
    recipe = find_recipe(name)
    require_extra("ogbench")
    _check_numbers(
        episodes=(episodes, 1), processes=(processes, 1), seed=(seed, 0), steps=(steps, 2)
    )
    recipe = replace(recipe, episodes=episodes or recipe.episodes, rows=steps or recipe.rows)
    settings = _settings(recipe, seed)
    train, validation = dataset_files(name, directory=directory)
    folder = train.parent / f".{name}.parts-{_digest(settings)}"
    if _is_made(train, validation, settings):
        if progress:
            complain(f"{train} is already there, made with the same settings.")
    else:
        writable(train.parent)
        folder.mkdir(parents=True, exist_ok=True)
        total = recipe.episodes + max(1, recipe.episodes // 10)
        plans = {
            validation: plan_parts(recipe.episodes, total, directory=folder),
            train: plan_parts(0, recipe.episodes, directory=folder),
        }
        parts = [*plans[train], *plans[validation]]
        _collect_missing(parts, recipe=recipe, seed=seed, processes=processes, bar=progress)
        _finish(plans, settings=settings, rows=recipe.rows, folder=folder)
    shutil.rmtree(folder, ignore_errors=True)
    return train


def _check_numbers(**numbers: tuple[int | None, int]) -> None:
    for name, (value, least) in numbers.items():
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}")


def _settings(recipe: Recipe, seed: int) -> dict[str, Any]:
    """All that decides the bytes of the files, as JSON gives it back."""
    versions = {package: version(package) for package in _PACKAGES}
    return json.loads(json.dumps({**asdict(recipe), "seed": seed, "versions": versions}))


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _is_made(train: Path, validation: Path, settings: dict[str, Any]) -> bool:
    """Whether both files exist and were made with `settings`; refuses to overwrite any other."""
    existing = [path for path in (train, validation) if path.exists()]
    if not existing:
        return False
    try:
        found = read_json(train.with_suffix(".json"))
    except (FileNotFoundError, ValueError):
        found = None
    if found == settings:
        return len(existing) == 2
    if isinstance(found, dict):
        keys = [key for key in settings if found.get(key) != settings[key]]
        changes = (f"{key} {found.get(key)}, not {settings[key]}" for key in keys)
        reason = f"was generated with other settings ({'; '.join(changes)})"
    else:
        reason = f"was not generated here (no readable {train.stem}.json lies beside it)"
    raise ValueError(
        f"{existing[0]} exists already and {reason}. "
        f"Delete it, or generate into another directory (the environment variable FLOQ_DATA)"
    )


def _collect_missing(
    parts: Sequence[Part], *, recipe: Recipe, seed: int, processes: int, bar: bool
) -> None:
    """Collects the parts that earlier calls did not complete, and shows how far it is."""
    missing = [part for part in parts if not is_complete(part, rows=recipe.rows)]
    total, left = (
        recipe.rows * sum(part.stop - part.start for part in group) for group in (parts, missing)
    )
    episodes = collect_parts(missing, recipe=recipe, seed=seed, processes=processes)
    with (
        contextlib.closing(episodes),
        ProgressDisplay(total, start=total - left, bar=bar, unit="rows") as display,
    ):
        for _ in display.through(episodes, size=lambda rows: rows):
            pass


def _finish(
    plans: dict[Path, list[Part]], *, settings: dict[str, Any], rows: int, folder: Path
) -> None:
    """Merges the parts into the files at the keys of `plans`, and puts the settings beside them."""
    for target, parts in plans.items():
        merge_parts(parts, rows=rows, target=folder / target.name)
    sidecar = folder / f"{settings['name']}.json"
    with writing(sidecar):
        sidecar.write_text(json.dumps(settings, indent=2) + "\n")
    # The settings go first: data without them would be refused as made by other means.
    for name in (sidecar.name, *(target.name for target in plans)):
        replace_file(folder / name, folder.parent / name)


def collect_parts(
    parts: Sequence[Part],
    *,
    recipe: Recipe,
    seed: int,
    processes: int,
) -> Generator[int, None, None]:
    """Collects and writes `parts`, and stops all processes however it ends.

    Args:
        parts: What to collect.
        recipe: The dataset's settings.
        seed: The run's seed.
        processes: Processes among which the parts are shared.

    Yields:
        The rows of each collected episode.

    Raises:
        RuntimeError: If a process fails; the message ends with its last lines of output.
    """
    shares = [parts[k::processes] for k in range(min(processes, len(parts)))]
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as events, contextlib.ExitStack() as stack:
        # All write to one pipe, whose end is the end of them all.
        with os.fdopen(write_end, "w") as output:
            workers = [
                start_worker(
                    "floq.data.generation.worker",
                    {
                        "recipe": asdict(recipe),
                        "seed": seed,
                        "parts": [(part.start, part.stop, str(part.path)) for part in share],
                    },
                    stack,
                    output=output,
                    # Its matrices are tiny: a second thread only takes a core from another process.
                    environment={"OMP_NUM_THREADS": "1"},
                )
                for share in shares
            ]
        for line in events:
            yield json.loads(line)["rows"]
            _check(workers)
        for worker in workers:
            worker.process.wait()
        _check(workers)


def _check(workers: Sequence[Worker]) -> None:
    for worker in workers:
        status = worker.process.poll()
        if status:
            raise RuntimeError(
                f"A collecting process ended with status {status}. Finished parts are kept: the "
                f"same call continues from them. Its last output:\n{worker.last_lines()}"
            )
