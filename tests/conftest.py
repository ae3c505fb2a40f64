"""Shapes and types of floq are checked at run time, under pytest only."""

import ctypes.util
import os
import signal
import threading

import pytest
from jaxtyping import install_import_hook

# Most of a test's time is XLA's compilation. `make test-all` compiles as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# A shell has what it runs in the background ignore Ctrl-C, which some tests send themselves.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

install_import_hook("floq", "beartype.beartype")
# MuJoCo reads it when it is imported, by whichever test comes first.
if ctypes.util.find_library("EGL"):
    os.environ.setdefault("MUJOCO_GL", "egl")


@pytest.fixture
def optimised():
    """Compiles as users do, for tests that compute for longer than they compile."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    fewer = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    jax.config.update("jax_disable_most_optimizations", fewer)
