"""OGBench datasets made on this machine, by the controllers that made the published ones."""

from floq.data.generation.collect import generate
from floq.data.generation.recipes import Recipe, find_recipe, generatable_names

__all__ = ["Recipe", "find_recipe", "generatable_names", "generate"]
