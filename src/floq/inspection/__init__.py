"""Inspection: numbers about a trained critic."""
