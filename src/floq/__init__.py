"""floq: flow-matching Q-functions in JAX (arXiv 2509.06863)."""

__version__ = "0.1.0"
