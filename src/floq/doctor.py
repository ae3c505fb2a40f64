"""What of this machine works for floq, and how to mend what does not."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from floq.compiled import check_compiled_directory, compiled_directory
from floq.data.paths import data_directory
from floq.extras import EXTRAS, install_command, is_installed

_PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium")
_NEWEST_PYTHON = (3, 13)
"""The newest that floq is tested with."""
_PROBE_SECONDS = 180
_FREE_GIGABYTES = 5


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        status: "ok"; "warn" where something that not everybody needs is missing; "fail" where
            floq cannot work.
        message: What was found.
        remedy: How to mend it; empty where nothing is wrong.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Looks at Python, packages, device, rendering and the data folder. Takes some seconds.

    What could crash runs in a process of its own. Nothing is written, and nothing is fetched.
    """
    return [
        check_python(sys.version_info[:2]),
        *(check_package(name) for name in _PACKAGES),
        *(check_extra(name) for name in EXTRAS),
        _check_device(),
        *([_check_rendering()] if is_installed("ogbench") else []),
        *_check_folders(),
    ]


def check_python(version: tuple[int, int]) -> Finding:
    """Whether floq is tested with a version of Python."""
    message = f"{platform.python_version()} on {platform.platform()}"
    if version > _NEWEST_PYTHON:
        newest = ".".join(map(str, _NEWEST_PYTHON))
        remedy = f"floq is tested with 3.11 to {newest}. If something fails, try one of these."
        return Finding("python", "warn", f"{message}, newer than {newest}", remedy)
    return Finding("python", "ok", message)


def check_package(name: str) -> Finding:
    """Whether a package is installed, and in which version."""
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "fail", "not installed", f"pip install {name}")


def check_extra(name: str) -> Finding:
    """Whether an extra of floq is installed; nobody needs all of them."""
    package, use = EXTRAS[name]
    if is_installed(name):
        return Finding(package, "ok", importlib.metadata.version(package))
    return Finding(package, "warn", f"not installed; {use} need it", install_command(name))


def _check_device() -> Finding:
    found = probe([sys.executable, "-m", "floq.doctor", "device"])
    if found.status != "ok":
        remedy = "Install jax again: see https://docs.jax.dev/en/latest/installation.html."
        return Finding("device", "fail", found.message, remedy)
    if found.message.startswith("cpu") and shutil.which("nvidia-smi"):
        message = f"{found.message}, though there is an NVIDIA driver"
        return Finding("device", "warn", message, "pip install 'floq[cuda]'")
    return found._replace(name="device")


def _check_rendering() -> Finding:
    found = probe([sys.executable, "-m", "floq.doctor", "rendering"])
    if found.status != "ok":
        remedy = (
            "Only videos and picture observations need it. Without a display, install EGL (libegl1 "
            "on Debian and Ubuntu) and set MUJOCO_GL=egl, or OSMesa and MUJOCO_GL=osmesa."
        )
        return Finding("rendering", "warn", found.message, remedy)
    return found._replace(name="rendering")


def probe(command: Sequence[str]) -> Finding:
    """What a command prints last, or how it failed, however badly."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding("", "fail", f"no answer in {_PROBE_SECONDS} seconds")
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last = said[-1].strip() if said else "it said nothing"
    if done.returncode == 0:
        return Finding("", "ok", last)
    how = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
    return Finding("", "fail", f"{how}: {last}")


def _check_folders() -> list[Finding]:
    findings = []
    for name, check in (("data folder", check_data), ("compiled programs", check_compiled)):
        try:
            folder = data_directory() if check is check_data else compiled_directory()
        except ValueError as error:
            findings.append(Finding(name, "warn", "none", str(error)))
        else:
            findings += check(folder)
    return findings


def check_data(folder: Path) -> list[Finding]:
    """Whether the data folder can be used, has room, and which datasets lie there."""
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
    elsewhere = "Set $FLOQ_DATA to a folder"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        message = f"{folder} cannot be written"
        return [Finding("data folder", "fail", message, f"{elsewhere} that you own.")]
    free = shutil.disk_usage(existing).free / 1e9
    message = f"{folder}, {free:.0f} GB free"
    if free < _FREE_GIGABYTES:
        remedy = f"{elsewhere} with more room: a dataset takes up to {_FREE_GIGABYTES} GB."
        space = Finding("data folder", "warn", message, remedy)
    else:
        space = Finding("data folder", "ok", message)
    validation = {path.stem.removesuffix("-val") for path in folder.glob("*-val.npz")}
    training = {path.stem for path in folder.glob("*.npz") if not path.stem.endswith("-val")}
    if not training:
        remedy = "floq data generate pointmaze-medium-navigate-v0"
        return [space, Finding("datasets", "warn", "none yet", remedy)]
    names = [
        name if name in validation else f"{name} (no validation file)" for name in sorted(training)
    ]
    return [space, Finding("datasets", "ok", ", ".join(names))]


def check_compiled(folder: Path) -> list[Finding]:
    """How much room the compiled programs take that are kept from start to start."""
    try:
        if folder.exists():
            check_compiled_directory(folder)
    except OSError as error:
        remedy = "Name a folder of your own with $JAX_COMPILATION_CACHE_DIR; else none are kept."
        return [Finding("compiled programs", "warn", str(error), remedy)]
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file()) / 1e6
    message = f"{folder}, {size:.0f} MB; it can be deleted at any time"
    return [Finding("compiled programs", "ok", message)]


def _probe_device() -> str:
    import jax
    import jax.numpy as jnp

    total = jax.jit(lambda matrix: (matrix @ matrix).sum())(jnp.ones((64, 64)))
    if total != 64**3:
        raise RuntimeError(f"a sum that is {64**3} came out as {total}")
    devices = jax.devices()
    return f"{devices[0].platform}: {len(devices)} × {devices[0].device_kind}"


def _probe_rendering() -> str:
    from floq.envs.make import make_env

    env = make_env("pointmaze-medium-navigate-singletask-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    backend = os.environ.get("MUJOCO_GL", "default")
    return (
        f"a picture of shape {getattr(picture, 'shape', None)} through MuJoCo's {backend} backend"
    )


if __name__ == "__main__":
    print({"device": _probe_device, "rendering": _probe_rendering}[sys.argv[1]]())
