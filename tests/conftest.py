"""Shapes and types of floq are checked at run time, under pytest only."""

import ctypes.util
import os

from jaxtyping import install_import_hook

install_import_hook("floq", "beartype.beartype")
# MuJoCo reads it when it is imported, by whichever test comes first.
if ctypes.util.find_library("EGL"):
    os.environ.setdefault("MUJOCO_GL", "egl")
