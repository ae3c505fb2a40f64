"""What a run was computed with."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import floq
from floq.processor import rounds_fast

_PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "ogbench", "mujoco")


def versions() -> dict[str, Any]:
    """Versions of everything that can change a number, JSON-able."""
    device = jax.devices()[0]
    return {
        "floq": floq.__version__,
        "git_commit": git_commit(Path(floq.__file__).resolve().parent),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "backend": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "cpus": os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "fastest_precision": "bfloat16" if rounds_fast() else "float32",
        "matmul_precision": jax.config.jax_default_matmul_precision,  # pyright: ignore
    }


def _version(package: str) -> str | None:
    """A package's version; None where it is not installed, as those of an extra need not be."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit(folder: Path) -> str | None:
    """The commit of a source tree, with "+changes" where files differ from it.

    None where `folder` is not part of a git repository, such as an installed package inside
    somebody else's.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, check=True, text=True, timeout=10
        ).stdout.strip()

    try:
        if not git("ls-files", "--", "."):
            return None
        return git("rev-parse", "HEAD") + (
            "+changes" if git("status", "--porcelain", "--", ".") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One line for each entry that is not what it was."""
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
