"""What floq and a shell say to each other: commands to copy, and exit statuses."""

import shlex

EXIT_INTERRUPTED = 75
"""Exit status of a command that was interrupted, saved its work and can be resumed.

It is `EX_TEMPFAIL` of sysexits.h: "try again later".
"""


def quoted(*words: object) -> str:
    """A command line whose words stay what they are, whatever spaces and signs they hold.

    Example:
        >>> quoted("floq", "resume", "runs/my run")
        "floq resume 'runs/my run'"
    """
    return shlex.join(str(word) for word in words)
