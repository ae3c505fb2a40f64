"""Files that the tests of sweeps start from: a small spec, and data that takes no simulator."""

import numpy as np

import floq

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
SPEC = f"""
tasks = ["{TASK}"]
steps = 20
seeds = [0, 1]

[schedule]
log_interval = 10
evaluation_interval = 20
evaluation_episodes = 1
checkpoint_interval = 10

[algorithms.floq.settings]
batch_size = 4
critic.integration_steps = 1
critic.noise_samples = 1
critic.network.hidden_sizes = [8]
distilled.network.hidden_sizes = [8]
policy.network.hidden_sizes = [8]
"""
_BEFORE, _SCHEDULE, _AFTER = SPEC.replace(TASK, "swing").partition("[schedule]")
OWN = f"""{_BEFORE}
[data.swing]
source = "swing.npz"
env = "Pendulum-v1"
reading = {{ layout = "transitions" }}
action_low = -2
action_high = 2.0
normalize_observations = true

{_SCHEDULE}{_AFTER}"""
"""The same on data of one's own."""


def brief(spec):
    """The same with the algorithm that is compiled soonest."""
    policy = "policy.flow_steps = 1\npolicy.network.hidden_sizes = [8]\n"
    return f"{spec.split('[algorithms')[0]}[algorithms.bc.settings]\nbatch_size = 4\n{policy}"


def write_own_data(folder):
    """Random transitions of a pendulum, in its own units."""
    generator = np.random.default_rng(0)
    ends = (np.arange(40) % 20 == 19).astype(np.float32)
    np.savez(
        folder / "swing.npz",
        observations=generator.normal(size=(40, 3)).astype(np.float32),
        actions=generator.uniform(-2, 2, (40, 1)).astype(np.float32),
        rewards=generator.uniform(-16, 0, 40).astype(np.float32),
        masks=1 - ends,
        terminals=ends,
    )


def write_data(folder):
    """A dataset of random places in the maze, one of which is the task's goal."""
    env = floq.make_env(TASK)
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    places = generator.uniform(0, 20, (100, 2)).astype(np.float32)
    places[5] = env.unwrapped.cur_goal_xy
    env.close()
    terminals = np.zeros(100, np.float32)
    terminals[49::50] = 1
    np.savez(
        folder / "pointmaze-medium-navigate-v0.npz",
        observations=places,
        actions=generator.uniform(-1, 1, (100, 2)).astype(np.float32),
        terminals=terminals,
        qpos=places,
        qvel=np.zeros((100, 2), np.float32),
    )
