"""Packages that come with an extra of floq: for OGBench's tasks, drawing, sharing, sweeps."""

import contextlib
import importlib.util
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Extra(NamedTuple):
    """What an extra brings.

    Attributes:
        package: The package that its code imports.
        use: What needs it, as the beginning of a sentence.
    """

    package: str
    use: str


EXTRAS = {
    "ogbench": _Extra("ogbench", "OGBench's tasks and datasets"),
    "export": _Extra("jax2onnx", "Policies as ONNX"),
    "plot": _Extra("matplotlib", "Reports and figures"),
    "formats": _Extra("h5py", "Files of Minari, D4RL, robomimic and LeRobot"),
    "tensorboard": _Extra("tensorboardX", "Logs for TensorBoard"),
    "wandb": _Extra("wandb", "Logs to W&B"),
    "video": _Extra("av", "MP4 videos"),
    "hub": _Extra("huggingface_hub", "Runs on the Hugging Face Hub"),
    "serve": _Extra("websockets", "The policy server and its client"),
    "sweep": _Extra("ray", "Sweeps side by side, and searches,"),
}
"""Each extra of floq that one of its functions may find missing."""


class MissingExtraError(RuntimeError):
    """Packages are not installed that only a part of floq needs."""


def install_command(extra: str) -> str:
    """The command that brings an extra into this Python."""
    pip = f"{shlex.quote(sys.executable or 'python')} -m pip install"
    command = f'{pip} "floq[{extra}]"'
    if extra == "ogbench" and sys.version_info >= (3, 13):
        # dm_control asks for labmaze, which cannot be installed there and is not used.
        command += f" && {pip} --no-deps ogbench dm_control"
    return command


def is_installed(extra: str) -> bool:
    """Whether an extra's packages are there."""
    return importlib.util.find_spec(EXTRAS[extra].package) is not None


def require_extra(extra: str, package: str | None = None) -> None:
    """Refuses to go on without an extra, before any work.

    Args:
        extra: Its name.
        package: One of its packages, where it brings several.

    Raises:
        MissingExtraError: If it is not installed; the message holds the command that brings it.
    """
    first, use = EXTRAS[extra]
    package = package or first
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(
            f"{use} need {package}, which is not installed: {install_command(extra)}"
        )


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Where matplotlib is imported.

    Raises:
        MissingExtraError: If it is not installed.
    """
    require_extra("plot")
    try:
        Path.home()
    except RuntimeError:
        # Without a home, matplotlib finds no place for its list of fonts, and fails.
        os.environ.setdefault("MPLCONFIGDIR", tempfile.mkdtemp(prefix="floq-matplotlib-"))
    yield
