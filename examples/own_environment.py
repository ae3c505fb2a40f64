"""Training in an environment of your own, without data: it lies in a module, my_reach.py.

Here:                 python examples/own_environment.py
On the command line:  cd examples; floq train --env my_reach:make --steps 0 --online-steps 4000 \
    --buffer online --reward-range -1 0 --directory runs/reach
"""

import sys

import floq

CONFIG = floq.small(  # Small networks, for a CPU.
    floq.FloqConfig(
        critic=floq.FlowCriticConfig(integration_steps=4, noise_samples=4),
        policy=floq.FlowPolicyConfig(flow_steps=4),
        bc_coefficient=0.01,  # There is no data to stay close to.
        normalize_q=True,
        batch_size=64,
        discount=0.95,
        learning_rate=1e-3,
        target_rate=0.02,
    )
)


def main(directory: str = "runs/reach", steps: str = "4000") -> None:
    run = floq.train(
        CONFIG,
        None,  # No data: it learns from what it does.
        env="my_reach:make",
        directory=directory,
        steps=0,
        online=floq.Online(steps=int(steps), warmup=int(steps) // 10, buffer="online"),
        reward_range=(-1.0, 0.0),
        schedule=floq.Schedule(log_interval=100, evaluation_interval=1000, evaluation_episodes=20),
        processes=0,  # One environment that costs nothing needs no process of its own.
    )
    print("success:", [row["success"] for row in run.evaluations])


if __name__ == "__main__":
    main(*sys.argv[1:])
