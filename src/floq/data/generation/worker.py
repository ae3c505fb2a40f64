"""A process that collects parts of a dataset: `python -m floq.data.generation.worker`.

It reads one line of JSON from standard input (a recipe, a seed, and parts) and writes one line of
JSON for each collected episode to standard output. It ends when its standard input is closed, so
it never outlives the process that started it.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

from floq.data.generation.parts import Part, write_part
from floq.data.generation.recipes import Recipe
from floq.workers import receive_job


def make_collector(recipe: Recipe) -> Any:
    """What has `collect(seed, episode)` give the trajectories of a recipe's dataset."""
    if recipe.behaviour in ("navigate", "stitch"):
        from floq.data.generation.maze import MazeCollector

        return MazeCollector(recipe)
    from floq.data.generation.manipulation import ManipulationCollector

    return ManipulationCollector(recipe)


def main() -> None:
    """Collects the parts of the job on standard input."""
    # An interrupt reaches the whole process group; the parent alone decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = receive_job(lambda: os._exit(1))
    # Whatever a simulator prints must not end up between the lines of progress.
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    collector = make_collector(Recipe(**job["recipe"]))
    for start, stop, path in job["parts"]:
        episodes = []
        for episode in range(start, stop):
            episodes.append(collector.collect(job["seed"], episode))
            events.write(json.dumps({"rows": len(episodes[-1]["terminals"])}) + "\n")
        write_part(Part(start, stop, Path(path)), episodes)


if __name__ == "__main__":
    main()
