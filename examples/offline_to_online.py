"""Offline, then online: floq beside FQL on a maze whose data is made here."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

import floq
from floq.data.generation import generate
from floq.reports.figures import Curve, learning_curves, to_svg
from floq.runs.results import results
from floq.studies.control_ground import MAZE

TASK = "pointmaze-medium-navigate-singletask-task1-v0"


def settings(updates: int) -> dict[str, Any]:
    """The studies' at half their rates, and FQL's with the same chunks, candidates and rates."""
    ours = dataclasses.replace(
        MAZE,
        policy=dataclasses.replace(MAZE.policy, flow_steps=10),
        learning_rate=1e-3,
        learning_rate_decay=updates,
        target_rate=0.05,
        distillation_samples=0,
        distillation_steps=0,
    )
    shared: dict[str, Any] = {
        field.name: getattr(ours, field.name) for field in dataclasses.fields(floq.FQLConfig)
    }
    shared["critic"] = floq.ScalarCriticConfig(aggregation="min")
    return {"floq": ours, "FQL": floq.small(floq.FQLConfig(**shared))}


def main(folder: Path, seeds: tuple[int, ...], offline: int, online: int) -> None:
    generate("pointmaze-medium-navigate-v0", episodes=100, processes=2, directory=folder / "data")
    dataset, env = floq.load_task(TASK, directory=folder / "data")
    schedule = floq.Schedule(
        log_interval=500,
        evaluation_interval=max(offline // 4, 1),
        evaluation_episodes=12,
        checkpoint_interval=offline,
    )
    curves, lines = [], ["| algorithm | step | success of each seed | mean | 95 % interval |"]
    lines.append("|---|---|---|---|---|")
    for name, config in settings(offline + online).items():
        run = floq.train(
            config, dataset, env=TASK, seeds=seeds, steps=offline, schedule=schedule,
            directory=folder / name,
        )  # fmt: skip
        run = floq.finetune(run, online=floq.Online(steps=online), dataset=dataset)
        found = results(run)[run.config.algorithm]
        for result in found:
            each = ", ".join(f"{rate:.2f}" for rate in result.per_seed)
            mean, low, high = result.interval
            lines.append(
                f"| {name} | {result.step:,} | {each} | {mean:.2f} | {low:.2f}–{high:.2f} |"
            )
        band = np.array([result.interval[1:] for result in found]).T
        rates = np.array([result.per_seed for result in found]).T
        curves.append(Curve(name, np.array([result.step for result in found]), rates, band))
    env.close()
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    figure = learning_curves(curves, name="success")
    figure.axes[0].axvline(offline, color="#666666", linewidth=1, linestyle=":")
    figure.axes[0].set_xlabel("offline updates, then environment steps after the dotted line")
    (folder / "figure.svg").write_bytes(to_svg(figure))


if __name__ == "__main__":
    place, *numbers = sys.argv[1:] or ["runs/offline-to-online"]
    offline, online, *seeds = [int(word) for word in numbers] or [4_000, 3_000, 0, 1, 2]
    main(Path(place), tuple(seeds), offline, online)
