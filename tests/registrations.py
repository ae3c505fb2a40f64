"""What tests register is theirs alone, since whichever tests come next have the same process."""

from floq import algorithms, settings
from floq.presets import methods


def forget_registrations(patch):
    """Forgets with the patches which algorithms, critics and presets are registered from now on."""
    patch.setattr(methods, "METHODS", dict(methods.METHODS))
    patch.setattr(algorithms, "REGISTERED", dict(algorithms.REGISTERED))
    kinds = {base: dict(known) for base, known in settings._KINDS.items()}
    patch.setattr(settings, "_KINDS", kinds)
