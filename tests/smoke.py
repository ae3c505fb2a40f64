"""A try of an installation, with the extras that are there: `make smoke` runs it in a fresh one.

Trains on arrays, with an environment of its own; evaluates, resumes and reports. A part that lacks
its extra must say how to get it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import gymnasium
import numpy as np

FLOQ = Path(sys.executable).with_name("floq")


class Point(gymnasium.Env):
    """A point on a line that is rewarded near its middle."""

    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2).astype(np.float32)
        return self.state, {}

    def step(self, action):
        self.state = np.clip(self.state + np.float32(action[0]), -10, 10)
        return self.state, -abs(float(self.state[0])), False, False, {}


if "Point-v0" not in gymnasium.registry:  # A worker imports this file, and so does the run itself.
    gymnasium.register("Point-v0", entry_point="smoke:Point", max_episode_steps=10)


def call(*arguments: str, status: int = 0) -> str:
    """What `floq ARGUMENTS` says; it must end with the status, and without a traceback."""
    done = subprocess.run([FLOQ, *arguments], capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == status, f"floq {arguments} ended with {done.returncode}: {said}"
    assert "Traceback" not in said, said
    return said


def train(folder: Path) -> None:
    """A run on arrays that is evaluated, and goes on."""
    import floq

    network = floq.NetworkConfig(hidden_sizes=(8,), layer_norm=True)
    config = floq.FloqConfig(
        critic=floq.FlowCriticConfig(integration_steps=2, noise_samples=2, network=network),
        policy=floq.FlowPolicyConfig(flow_steps=2, network=network),
        batch_size=8,
    )
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 2)).astype(np.float32)
    dataset = floq.Dataset.from_transitions(
        observations=states[:-1],
        actions=random.uniform(-1, 1, (100, 1)).astype(np.float32),
        rewards=random.normal(size=100).astype(np.float32),
        masks=np.ones(100, np.float32),
        next_observations=states[1:],
    )
    run = floq.train(
        config,
        dataset,
        env="smoke:Point-v0",
        steps=20,
        directory=folder / "run",
        schedule=floq.Schedule(evaluation_episodes=2),
        progress=False,
    )
    assert len(run.evaluations) == 1
    run = floq.resume(folder / "run", dataset=dataset, steps=40, progress=False)
    assert run.step == floq.load_run(folder / "run").step == 40
    assert len(run.evaluations) == 2


def main() -> None:
    """Tries everything."""
    from floq.extras import EXTRAS, is_installed

    there = {extra for extra in EXTRAS if is_installed(extra)}
    print(
        f"Python {sys.version.split()[0]} with {sorted(there) or 'no extra'}: ", end="", flush=True
    )
    assert "train" in call("--help")
    assert ("floq[ogbench]" in call("doctor")) == ("ogbench" not in there)
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        page = Path(folder) / "report.html"
        report = ["report", f"{folder}/run", "-o", str(page)]
        if "plot" in there:
            call(*report)
            assert page.read_text().startswith("<!")
        else:
            assert 'pip install "floq[plot]"' in call(*report, status=2)
        generate = ["data", "generate", "cube-single-play-v0", "--episodes", "1"]
        generate += ["--directory", folder]
        if "ogbench" in there:
            call(*generate)
        else:
            assert 'pip install "floq[ogbench]"' in call(*generate, status=2)
            task = ["train", "cube-single-play-singletask-v0", "--directory", f"{folder}/task"]
            assert 'pip install "floq[ogbench]"' in call(*task, status=2)
    print("works")


if __name__ == "__main__":
    main()
