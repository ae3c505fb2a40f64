"""A policy that floq exported: `load_policy(folder)`, then `reset()` and `act(observation)`.

It needs numpy, and jax (with flatbuffers) or onnxruntime for their programs; nothing of floq.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FILES = {"jax": ("program.jaxexport", "weights.safetensors"), "onnx": ("policy.onnx",),
         "numpy": ("floq_network.py", "weights.safetensors")}  # fmt: skip
_LARGEST = 2**32


class Policy:
    """Acts step by step, in the environment's own units; chunks are carried out one by one.

    Attributes:
        record: What `policy.json` says.
        program: Actions in [-1, 1], [batch, chunk * act], of (*observations, *noise): of each array
            of an observation, as `policy.json` has them, and of noise.
    """

    def __init__(self, record, program, seed=0):
        self.record, self.program, self.seed = record, program, seed
        self._low = np.array(record["actions"]["low"], np.float32)
        self._range = (np.array(record["actions"]["high"], np.float32) - self._low) / 2
        self._episode = self._step = 0
        self.reset()

    def reset(self):
        """Begins an episode: the plan is dropped, and the noise is that of the next episode.

        Before the first act of an episode it changes nothing.
        """
        self._episode, self._step = self._episode + bool(self._step), 0
        self._plan, self._seen = np.zeros((0, 0, 0)), None

    def act(self, observation):
        """The next action of an observation, or of each of a batch.

        An observation is what the environment shows at this step: a vector [obs], an image
        [height, width, channels], or a dictionary of these. A batch has one axis more, the first.
        Where the policy reads the last observations, they are kept here.
        """
        arrays, is_batch = read(self.record, observation)
        rows = len(arrays[0])
        if self._step and rows != len(self._plan):
            raise ValueError(f"{rows} observations are given, in an episode that began with "
                             f"{len(self._plan)}: call reset() first.")  # fmt: skip
        self._seen = stacked(self.record, arrays, self._seen)
        turn = self._step % self.record["chunk"]
        if turn == 0:
            noise = draw_noise(self.record, rows, [self.seed, self._episode, self._step])
            self._plan = self.plan(self._seen, noise)
        self._step += 1
        return self._plan[:, turn] if is_batch else self._plan[0, turn]

    def plan(self, observations, noise):
        """The next actions in the environment's units, float32 [batch, chunk, act].

        `observations` are arrays as the program reads them, [batch, *shape], `noise` its others.
        """
        actions = np.asarray(self.program(*observations, *noise), np.float32)
        shape = len(observations[0]), self.record["chunk"], len(self._low)
        if actions.shape != (shape[0], shape[1] * shape[2]) or not np.isfinite(actions).all():
            raise ValueError(f"the program gives actions of shape {actions.shape} in place of "
                             f"{(shape[0], shape[1] * shape[2])}, or not finite.")  # fmt: skip
        return self._low + (np.clip(actions, -1, 1).reshape(shape) + 1) * self._range


def parts(record):
    """Shape and dtype of each array of an observation by its place, such as robot/arm.

    A vector or an image by itself has the place "".
    """
    return record["observations"].get("parts") or {"": record["observations"]}


def read(record, observation):
    """The arrays of observations, each [batch, *shape], and whether a batch was given.

    A ValueError names the array that is missing, of another shape or type, or not finite.
    """
    arrays, leading = [], set()
    for name, part in parts(record).items():
        what = f"part {name!r} of the observation" if name else "the observation"
        array, due = _array(observation, name, what), tuple(part["shape"])
        own = array.shape[: array.ndim - len(due)]
        if array.ndim < len(due) or len(own) > 1 or array.shape != own + due or 0 in own:
            raise ValueError(f"{what} has the shape {array.shape}: give {list(due)}, or a batch, "
                             f"[batch, {', '.join(map(str, due))}].")  # fmt: skip
        if part["dtype"] == "uint8" and array.dtype != np.uint8:
            raise ValueError(f"{what} has the dtype {array.dtype}: give bytes, uint8.")
        with np.errstate(over="ignore"):
            array = array.astype(part["dtype"], copy=False)
        if array.dtype != np.uint8 and not np.isfinite(array).all():
            raise ValueError(f"{what} is not finite: {array}.")
        arrays.append(array if own else array[None])
        leading.add(own)
    if len(leading) > 1:
        raise ValueError("some arrays of the observation are a batch, and others are none, or one "
                         "of another size.")  # fmt: skip
    return arrays, leading != {()}


def _array(observation, name, what):
    value, keys = observation, name.split("/") if name else []
    if isinstance(value, Mapping) and name in value:
        keys = [name]
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(f"{what} is missing: give a dictionary that has it.")
        value = value[key]
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        kind = type(value).__name__
        raise ValueError(
            f"{what} is no array of numbers: it is of type {kind}, dtype {array.dtype}."
        )
    return array


def stacked(record, arrays, before=None):
    """What the program reads at a step: the latest observations side by side, the newest last.

    `before` is what it read at the step before; None where the episode begins, whose first
    observation stands for those before it.
    """
    if before is None:
        frames = record["observations"].get("frames", 1)
        return [np.concatenate([one] * frames, axis=-1) for one in arrays]
    pairs = zip(before, arrays, strict=True)
    return [np.concatenate([old[..., one.shape[-1] :], one], axis=-1) for old, one in pairs]


def blank(record, rows):
    """Arrays as the program reads them, of zeros."""
    seen = parts(record).values()
    return stacked(record, [np.zeros((rows, *part["shape"]), part["dtype"]) for part in seen])


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


def check_seed(seed):
    """The seed as an int; ValueError if it is none."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}: give a whole number from 0 to {2**32 - 1}.")
    return int(seed)


def load_policy(folder, *, seed=0, threads=1):
    """The policy of a folder, after every byte of it was compared with the manifest.

    `seed` is that of the noise, `threads` those of onnxruntime. The manifest finds damage, not
    malice: load what comes from somebody you trust.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder is of type {type(folder).__name__}: give a str or a pathlib.Path.")
    folder, seed = Path(folder), check_seed(seed)
    contents = verified(folder)
    try:
        record = check_record(json.loads(contents["policy.json"]))
        program = _PROGRAMS[record["program"]](record, contents, threads)
        policy = Policy(record, program, seed)
        policy.plan(blank(record, 1), draw_noise(record, 1, [0]))
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{folder} cannot be used: {type(error).__name__}: {error}") from error
    return policy


def verified(folder):
    """The content of every file that is read, by name; ValueError if one is not as written."""
    path = folder / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no exported policy: it has no manifest.json. "
                                "`floq export RUN` writes one.")  # fmt: skip
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
    if not path.exists():
        raise ValueError(f"{path} is missing.")
    if not path.is_file() or path.stat().st_size > min(limit, _LARGEST):
        raise ValueError(f"{path} is no regular file of at most {limit:,} bytes.")
    return path.read_bytes()


def check_record(record):
    """What `policy.json` says, if a policy can act by it."""
    low, high = record["actions"]["low"], record["actions"]["high"]
    frames, sizes = record["observations"].get("frames", 1), [record["chunk"]]
    networks = [part for part in record.get("network", {}).values() if isinstance(part, dict)]
    counts = [value for part in networks for value in part.values() if isinstance(value, int)]
    good = record["format"] == 1 and record["program"] in FILES
    for part in parts(record).values():
        sizes += [frames, *part["shape"]]
        good = good and part["dtype"] == {1: "float32", 3: "uint8"}[len(part["shape"])]
        good = good and math.prod([frames, *part["shape"]]) < 2**28
    for spec in record["noise"]:
        sizes += [*spec["shape"], math.prod(spec["shape"])]
        if spec["distribution"] not in ("normal", "uniform", "strata"):
            raise ValueError(f"noise of the distribution {spec['distribution']!r} is unknown")
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
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise RuntimeError(
            "policy.onnx needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(contents["policy.onnx"], options, providers=providers)
    names = [one.name for one in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


_PROGRAMS = {"jax": _jax_program, "onnx": _onnx_program, "numpy": _numpy_program}
