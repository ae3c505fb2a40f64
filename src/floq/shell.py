"""Commands as people copy them into a shell."""

import shlex


def quoted(*words: object) -> str:
    """A command line whose words stay what they are, whatever spaces and signs they hold.

    Example:
        >>> quoted("floq", "resume", "runs/my run")
        "floq resume 'runs/my run'"
    """
    return shlex.join(str(word) for word in words)
