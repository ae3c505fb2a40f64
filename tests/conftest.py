"""Shapes and types of floq are checked at run time, under pytest only."""

import ctypes.util
import gc
import importlib.metadata
import os
import shutil
import signal
import threading
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

_MOST_BYTES = 10**9
"""Of compiled programs: of former states of the code, most of them, which nobody asks for again."""

# Most of a test's time is XLA's compilation. `make test-all` compiles as users do.
_FEWER = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
# XLA's former emitters compile faster, and one module faster than several. A flag that it does not
# know would end the process.
_flags = os.environ.get("XLA_FLAGS", "")
_known = importlib.metadata.version("jaxlib").startswith("0.10.")
for _flag in ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"):
    if _FEWER and _known and _flag not in _flags:
        _flags = f"{_flags} {_flag}".strip()
        os.environ["XLA_FLAGS"] = _flags

# Five per cent of the time otherwise: what a trace makes and drops sets it off again and again.
gc.set_threshold(100_000, 50, 100)

# A shell has what it runs in the background ignore Ctrl-C, which some tests send themselves.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Compilation and a busy machine are slow, which says nothing of what is tested.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

install_import_hook("floq", "beartype.beartype")


def _keep_programs() -> None:
    """Each program is compiled once for all workers and processes, and is kept for the next time.

    Nothing is left in the user's cache. Compilation is two fifths of the first time's work.
    """
    import jax

    from floq.compiled import compiled_directory

    folder = Path(__file__).parents[1] / ".pytest_cache" / compiled_directory().name
    if sum(path.stat().st_size for path in folder.glob("*")) > _MOST_BYTES:
        shutil.rmtree(folder)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # The hook above has imported jax, which reads the variable but once, in this process.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


# Workers are told by the process that starts them.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _keep_programs()
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# MuJoCo reads it when it is imported, by whichever test comes first.
if ctypes.util.find_library("EGL"):
    os.environ.setdefault("MUJOCO_GL", "egl")


@pytest.fixture(autouse=True)
def no_plugins_of_other_tests(monkeypatch):
    """Commands to copy name the plugins of this process: those of one test are not another's."""
    monkeypatch.setattr("floq.plugins._imported", [])


@pytest.fixture(autouse=True, scope="session")
def no_shadows():
    """A picture of a maze takes a quarter of a second without a GPU, nine tenths of it shadows."""
    with pytest.MonkeyPatch.context() as patch:
        import mujoco

        def create(renderer, model, *sizes, own=mujoco.Renderer.__init__, **options):
            model.vis.quality.shadowsize = 0
            own(renderer, model, *sizes, **options)

        patch.setattr(mujoco.Renderer, "__init__", create)
        yield


@pytest.fixture
def optimised():
    """Optimises as users' programs are, for tests that compute for longer than they compile."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", _FEWER)


# Last, since it imports what the hook above must see first.
from finished_run import copy, finished, maze_data  # noqa: E402, F401 - fixtures
