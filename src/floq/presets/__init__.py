"""Presets: published settings and figures by method and task, and settings of small networks."""
