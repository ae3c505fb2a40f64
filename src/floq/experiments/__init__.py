"""Experiments: presets, the demo, and the report on what runs found."""
