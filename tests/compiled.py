"""A call as one program, where jax would compile each of its operations by itself."""

import equinox as eqx


@eqx.filter_jit
def call(method, *arguments, **named):
    """What a module's method gives; numbers of Python's own are part of the program."""
    return method(*arguments, **named)
