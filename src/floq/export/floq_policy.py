"""A policy that floq exported: `load_policy(folder)`, then `reset()` and `act(observation)`.

It needs numpy, and jax (with flatbuffers) or onnxruntime for their programs; nothing of floq.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

FILES = {"jax": ("program.jaxexport", "weights.safetensors"), "onnx": ("policy.onnx",),
         "numpy": ("floq_network.py", "weights.safetensors")}  # fmt: skip
_LARGEST = 2**32


class Policy:
    """Acts step by step, in the environment's own units; chunks are carried out one by one.

    Attributes:
        record: What `policy.json` says.
        program: Actions in [-1, 1], [batch, chunk * act], of (observations, *noise).
    """

    def __init__(self, record, program, seed=0):
        self.record, self.program, self.seed = record, program, seed
        self._low = np.array(record["actions"]["low"], np.float32)
        self._range = (np.array(record["actions"]["high"], np.float32) - self._low) / 2
        self._episode = -1
        self.reset()

    def reset(self):
        """Begins an episode: the plan is dropped, and the noise is that of the next episode."""
        self._episode, self._step, self._plan = self._episode + 1, 0, np.zeros((0, 0, 0))

    def act(self, observation):
        """The next action of an observation [obs], or of each of a batch [batch, obs]."""
        given, (size,) = np.asarray(observation, np.float32), self.record["observations"]["shape"]
        rows = given if given.ndim == 2 else given[None]
        if given.ndim not in (1, 2) or rows.shape[1] != size or not len(rows):
            raise ValueError(f"the observation has the shape {given.shape}: give [{size}], or "
                             f"a batch, [batch, {size}].")  # fmt: skip
        if not np.isfinite(rows).all():
            raise ValueError(f"the observation is not finite: {given}.")
        if self._step and len(rows) != len(self._plan):
            raise ValueError(f"{len(rows)} observations are given, in an episode that began with "
                             f"{len(self._plan)}: call reset() first.")  # fmt: skip
        turn = self._step % self.record["chunk"]
        if turn == 0:
            noise = draw_noise(self.record, len(rows), [self.seed, self._episode, self._step])
            self._plan = self.plan(rows, noise)
        self._step += 1
        return self._plan[:, turn] if given.ndim == 2 else self._plan[0, turn]

    def plan(self, observations, noise):
        """The next actions in the environment's units, float32 [batch, chunk, act]."""
        actions = np.asarray(self.program(observations, *noise), np.float32)
        shape = len(observations), self.record["chunk"], len(self._low)
        if actions.shape != (shape[0], shape[1] * shape[2]) or not np.isfinite(actions).all():
            raise ValueError(f"the program gives actions of shape {actions.shape} in place of "
                             f"{(shape[0], shape[1] * shape[2])}, or not finite.")  # fmt: skip
        return self._low + (np.clip(actions, -1, 1).reshape(shape) + 1) * self._range


def draw_noise(record, rows, seed):
    """The noise of `rows` observations: of numpy's generators of [*seed, number of the array]."""
    arrays = []
    for number, spec in enumerate(record["noise"]):
        random, shape = np.random.default_rng([*seed, number]), (rows, *spec["shape"])
        if spec["distribution"] == "normal":
            drawn = random.normal(size=shape)
        else:
            drawn = random.uniform(size=shape)
            if spec["distribution"] == "strata":  # One in each of equal parts, in any order.
                drawn = random.permuted((np.arange(shape[1]) + drawn) / shape[1], axis=1)
            drawn = spec["low"] + (spec["high"] - spec["low"]) * drawn
        arrays.append(drawn.astype(np.float32))
    return arrays


def load_policy(folder, *, seed=0, threads=1):
    """The policy of a folder, after every byte of it was compared with the manifest.

    `seed` is that of the noise, `threads` those of onnxruntime. The manifest finds damage, not
    malice: load what comes from somebody you trust.
    """
    folder = Path(folder)
    contents = verified(folder)
    try:
        record = check_record(json.loads(contents["policy.json"]))
        program = _PROGRAMS[record["program"]](record, contents, threads)
        policy = Policy(record, program, seed)
        policy.plan(np.zeros((1, *record["observations"]["shape"]), np.float32),
                    draw_noise(record, 1, [0]))  # fmt: skip
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{folder} cannot be used: {type(error).__name__}: {error}") from error
    return policy


def verified(folder):
    """The content of every file that is read, by name; ValueError if one is not as written."""
    path = folder / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no exported policy: it has no manifest.json.")
    content = _read(path, 2**16)
    try:
        files = json.loads(content)["files"]
        known = [{*names, "policy.json", "floq_policy.py"} for names in FILES.values()]
        if set(files) not in known or manifest(files) != content:
            raise ValueError("it is not as floq writes it")
        sizes = {name: int(entry["bytes"]) for name, entry in files.items()}
        contents = {name: _read(folder / name, sizes[name]) for name in files}
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} is damaged, or no exported policy: {error}") from error
    for name, found in contents.items():
        if fingerprint(found) != files[name]:
            raise ValueError(f"{folder / name} is damaged: it is not what its manifest says.")
    return contents


def fingerprint(content):
    """Size and SHA-256 of a file's content."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def manifest(files):
    """The content of `manifest.json`, in its only spelling."""
    return (json.dumps({"format": 1, "files": files}, indent=1, sort_keys=True) + "\n").encode()


def _read(path, limit):
    if not path.is_file() or path.stat().st_size > min(limit, _LARGEST):
        raise ValueError(f"{path} is no regular file of at most {limit:,} bytes.")
    return path.read_bytes()


def check_record(record):
    """What `policy.json` says, if a policy can act by it."""
    low, high = record["actions"]["low"], record["actions"]["high"]
    sizes = [*record["observations"]["shape"], record["chunk"]]
    parts = [part for part in record.get("network", {}).values() if isinstance(part, dict)]
    counts = [value for part in parts for value in part.values() if isinstance(value, int)]
    for spec in record["noise"]:
        sizes += [*spec["shape"], math.prod(spec["shape"])]
        if spec["distribution"] not in ("normal", "uniform", "strata"):
            raise ValueError(f"noise of the distribution {spec['distribution']!r} is unknown")
    good = record["format"] == 1 and record["program"] in FILES and len(sizes) >= 2
    good = good and all(type(size) is int and 0 < size < 2**20 for size in sizes)
    good = good and all(value < 10_000 for value in counts)
    good = good and 0 < len(low) == len(high) and all(map(math.isfinite, [*low, *high]))
    if not good:
        raise ValueError("policy.json is not what this version of floq writes")
    return record


def arrays(content):
    """The arrays of a safetensors file, float32, by name."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), memoryview(content)[8 + size :]
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if entry["dtype"] != "F32" or not 0 <= start <= end <= len(data):
            raise ValueError(f"{name} is no float32 array within the file")
        found[name] = np.frombuffer(data[start:end], np.float32).reshape(entry["shape"])
    return found


def _numpy_program(record, contents, threads):
    if __package__:  # Inside floq: code that lies in a folder is never run.
        from floq.export import floq_network
    else:
        import floq_network  # pyright: ignore[reportMissingImports]
    return floq_network.program(record["network"], arrays(contents["weights.safetensors"]))


def _jax_program(record, contents, threads):
    import re

    import jax
    import jax.export

    exported = jax.export.deserialize(bytearray(contents["program.jaxexport"]))
    calls = set(re.findall(r"custom_call @([\w.]+)", exported.mlir_module()))
    if not calls <= {"mhlo.erf", "shape_assertion"}:
        raise ValueError(f"the program calls {sorted(calls)}, which floq's never do")
    weights = jax.device_put(arrays(contents["weights.safetensors"]))
    compiled = jax.jit(exported.call)
    return lambda *inputs: compiled(weights, *inputs)


def _onnx_program(record, contents, threads):
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(contents["policy.onnx"], options, providers=providers)
    names = [one.name for one in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


_PROGRAMS = {"jax": _jax_program, "onnx": _onnx_program, "numpy": _numpy_program}
