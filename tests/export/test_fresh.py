"""Exported policies in an environment of their own, with what they say that they need."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_image_policies import seeing, shown

from floq.export import export_policy, in_memory

_ACT = """
import importlib.util, json, sys
import numpy as np
assert not any(map(importlib.util.find_spec, ("floq", "jax", "safetensors")))
sys.path.insert(0, sys.argv[1])
import floq_policy
policy = floq_policy.load_policy(sys.argv[1], seed=2)
with np.load(sys.argv[2]) as file:
    arrays = dict(file)
for step in range(3):
    seen = {name: array[step] for name, array in arrays.items()}
    if "camera" in seen:
        seen["arm"] = {"place": seen["place"]}
    print(json.dumps(policy.act(seen.get("vector", seen)).tolist()))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A Python with numpy and onnxruntime, and what these bring along."""
    place = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
    python, pins = place / "bin" / "python", Path(__file__).parents[2] / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["-c", pins, "numpy", "onnxruntime"]
    subprocess.run(install, check=True, timeout=600)
    return python


@pytest.mark.slow
@pytest.mark.extras
def test_a_fresh_environment_loads_and_acts(fresh, finished, tmp_path, shapes_unchecked):
    """Without floq or jax, numpy's and ONNX's programs give the policy's actions within 1e-5."""
    vectors, images = np.random.default_rng(0).normal(size=(3, 2)), shown(3)
    places = [one["arm"]["place"] for one in images]
    np.savez(tmp_path / "vectors.npz", vector=vectors)
    np.savez(tmp_path / "images.npz", place=places, camera=[one["camera"] for one in images])
    reading = {
        "vectors": (finished.trained(), vectors),
        "images": (seeing("best by a flow"), images),
    }
    for kind, seen in (("numpy", "vectors"), ("onnx", "vectors"), ("onnx", "images")):
        trained, observations = reading[seen]
        folder = export_policy(trained, tmp_path / f"{kind}-{seen}", format=kind)
        done = subprocess.run(
            [fresh, "-I", "-c", _ACT, folder, tmp_path / f"{seen}.npz"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        policy = in_memory(trained, seed=2)
        wanted = [policy.act(one) for one in observations]
        found = [json.loads(line) for line in done.stdout.splitlines()]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
