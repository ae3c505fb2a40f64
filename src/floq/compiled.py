"""Where compiled programs are kept, so that the same training compiles only at its first start."""

import hashlib
import os
import platform
import warnings
from pathlib import Path

from floq.disk import user_cache, user_path


def compiled_directory() -> Path:
    """The folder of this processor's compiled programs.

    `$JAX_COMPILATION_CACHE_DIR` where set; else one in the user's cache. Programs are compiled for
    the very instructions that a processor has, so that machines that share a home each have their
    own.

    Raises:
        ValueError: If no variable names it, and the user has no home.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen:
        return user_path(chosen)
    return user_cache() / f"compiled-{_processor()}"


def check_compiled_directory(folder: Path) -> None:
    """Refuses a folder that cannot be used. What lies there is machine code: it must be the user's.

    Raises:
        OSError: If it cannot be written, or is somebody else's.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise OSError(f"{folder} cannot be written")
    if hasattr(os, "geteuid") and folder.stat().st_uid != os.geteuid():
        raise OSError(f"{folder} is somebody else's")


def keep_compiled_programs() -> None:
    """Has jax read compiled programs from `compiled_directory()` and add new ones to it.

    It must be called before jax is imported. Where the folder cannot be used, it says so, and
    programs are compiled at every start.
    """
    try:
        folder = compiled_directory()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_compiled_directory(folder)
    except (OSError, ValueError) as error:
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        warnings.warn(
            f"compiled programs are not kept, so that each start takes longer ({error}). Name a "
            "folder of your own with $JAX_COMPILATION_CACHE_DIR.",
            UserWarning,
            stacklevel=2,
        )
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # jax does not write them at once. One that another process is writing is compiled here, too.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache", UserWarning)
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
