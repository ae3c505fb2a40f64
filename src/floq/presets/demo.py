"""The demo's task and settings: small networks that learn a real OGBench task on a CPU."""

import dataclasses

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.policies.flow import FlowPolicyConfig
from floq.presets.changes import small

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
DATASET = "pointmaze-medium-navigate-v0"
EPISODES = 300
STEPS = 3_000

# How these were found, with every seed, is in docs/log/demo.md.
CONFIG = small(
    floq.Config(
        critic=FlowCriticConfig(integration_steps=4, noise_samples=4, members=4, aggregation="min"),
        policy=FlowPolicyConfig(flow_steps=5),
        batch_size=256,
        learning_rate=2e-3,
        learning_rate_decay=STEPS,
        discount=0.995,
        target_rate=0.1,
        bc_coefficient=10.0,
        action_chunk=10,
        candidates=32,
        target_candidates=4,
        distillation_samples=2,
        distillation_steps=1,
    ),
    width=64,
    depth=3,
)
# Wider than the critics: what pushes into a wall is no candidate only if the flow knows the data.
CONFIG = dataclasses.replace(CONFIG, policy=small(CONFIG.policy, width=128))
