"""Shapes and types of floq are checked at run time, under pytest only."""

from jaxtyping import install_import_hook

install_import_hook("floq", "beartype.beartype")
