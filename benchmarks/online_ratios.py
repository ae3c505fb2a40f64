"""Updates for each environment step: floq beside FQL on a pendulum, from the same offline start.

`python -m benchmarks.online_ratios DIRECTORY [STEPS RATIO ...]` trains both offline on few aimless
steps, three seeds each, goes on from there online with 1, 4, 16 and 64 updates a step, and writes
`table.md` (returns by environment steps, minutes, the norm of the critic's features) and
`figure.svg`. Networks, policy and rates are the same for both.
"""

import sys
from pathlib import Path

import gymnasium
import numpy as np

import floq
from floq.reports.figures import Curve, learning_curves, to_svg
from floq.runs.results import hours_at, metrics, results

ENV, SEEDS, EPISODES = "Pendulum-v1", (0, 1, 2), 20
SHARED = {
    "batch_size": 128,
    "learning_rate": 5e-4,
    "target_rate": 0.02,
    "discount": 0.97,
    "bc_coefficient": 1.0,
    "policy": floq.FlowPolicyConfig(flow_steps=5),
}


def configs():
    """Both methods, small, with a policy of one step, as published."""
    flow = floq.FlowCriticConfig(integration_steps=4, noise_samples=4)
    ours = floq.FloqConfig(critic=flow, distillation_samples=2, distillation_steps=1, **SHARED)
    return {"floq": floq.small(ours), "FQL": floq.small(floq.FQLConfig(**SHARED))}


def aimless(rows):
    """Steps of random actions, from any angle and speed."""
    envs = gymnasium.make_vec(ENV, num_envs=100)
    envs.action_space.seed(0)
    states, _ = envs.reset(seed=0, options={"x_init": np.pi, "y_init": 8.0})
    kept = []
    for _ in range(rows // 100):
        actions = envs.action_space.sample()
        following, rewards, ended, _, _ = envs.step(actions)
        kept.append((states, actions, rewards, 1.0 - ended, following))
        states = following
    envs.close()
    arrays = [np.concatenate(column) for column in zip(*kept, strict=True)]
    return floq.Dataset.from_transitions(*arrays, action_space=envs.single_action_space)


def main(directory, steps=500, *ratios, rows=2_000, offline=2_000):
    """Trains, prints and writes the table and the figure."""
    data, directory = aimless(rows), Path(directory)
    lines = [
        "| method | updates a step | offline | after a quarter | a half | all | each seed, all "
        "| mean and interval | minutes online | feature norm before and after |",
        "|" + "---|" * 10,
    ]
    curves = []
    for name, config in configs().items():
        start = floq.train(
            config, data, env=ENV, seeds=SEEDS, steps=offline, directory=directory / name,
            schedule=floq.Schedule(
                log_interval=offline // 4, evaluation_interval=offline, evaluation_episodes=EPISODES
            ),
        )  # fmt: skip
        for ratio in ratios or (1, 4, 16, 64):
            run = floq.finetune(
                start, online=floq.Online(steps=steps, updates_per_step=ratio), dataset=data,
                directory=directory / f"{name}-{ratio}",
                schedule=floq.Schedule(
                    log_interval=steps // 4,
                    evaluation_interval=steps // 4,
                    evaluation_episodes=EPISODES,
                    checkpoint_interval=steps,
                ),
            )  # fmt: skip
            found = results(run)[run.config.algorithm]
            means = [f"{one.interval.mean:.0f}" for one in found]
            mean, low, high = found[-1].interval
            points, logged = metrics(run)
            norm = logged["critic/feature_norm"].mean(axis=0)[points >= offline]
            hours = hours_at(run, np.array([offline, offline + steps]))
            assert hours is not None
            lines.append(
                f"| {name} | {ratio} | {means[0]} | {means[1]} | {means[2]} | {means[-1]} | "
                f"{' '.join(f'{one:.0f}' for one in found[-1].per_seed)} | "
                f"{mean:.0f} [{low:.0f}, {high:.0f}] | {np.ptp(hours) * 60:.1f} | "
                f"{norm[0]:.2f} {norm[-1]:.2f} |"
            )
            print(lines[-1], flush=True)
            points = np.array([one.step - offline for one in found])
            per_seed = np.array([one.per_seed for one in found]).T
            curves.append(Curve(f"{name}, {ratio}", points, per_seed, dashed=name == "FQL"))
    (directory / "table.md").write_text("\n".join(lines) + "\n")
    figure = learning_curves(curves, name="return")
    figure.axes[0].set_xlabel("environment steps after the offline updates")
    (directory / "figure.svg").write_bytes(to_svg(figure))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
