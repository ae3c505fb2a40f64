"""How often hypothesis draws: `make test-all`, which compiles as users do, has time for more."""

import os


def draws(quick: int, thorough: int) -> int:
    """Examples of a test: few in `make test`, and more in `make test-all`."""
    return thorough if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "0" else quick
