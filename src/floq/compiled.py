"""Where compiled programs are kept, so that the same training compiles only at its first start."""

import hashlib
import os
import platform
from pathlib import Path


def compiled_directory() -> Path:
    """The folder of this processor's compiled programs.

    `$JAX_COMPILATION_CACHE_DIR` where set; else one in the user's cache. Programs are compiled for
    the very instructions that a processor has, so that machines that share a home each have their
    own.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen:
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "floq" / f"compiled-{_processor()}"


def keep_compiled_programs() -> None:
    """Has jax read compiled programs from `compiled_directory()` and add new ones to it.

    It must be called before jax is imported. Does nothing where the folder cannot be made. A file
    there is machine code: the folder is the user's alone.
    """
    folder = compiled_directory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    # Start-up is hundreds of small programs, each below jax's usual bound of a second.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _processor() -> str:
    """A short name for the processor's set of instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    names = f"{platform.machine()} {platform.processor()} {features}"
    return hashlib.sha256(names.encode()).hexdigest()[:12]
