"""Runs: what training leaves behind, written so that nothing is lost, and read back."""
