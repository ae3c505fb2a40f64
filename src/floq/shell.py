"""What floq and a shell say to each other: commands to copy, and exit statuses."""

import shlex
from pathlib import Path

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


class Interrupted(Exception):  # noqa: N818 - not an error: the work is saved
    """Training was asked to stop, and has saved everything.

    Attributes:
        directory: The run.
        step: Updates that are done and saved.
        command: What continues the run: a command, or a line of Python where only the program
            that began it has the data.
    """

    def __init__(self, directory: Path, step: int, *, has_data: bool = True):
        """Says how to go on.

        Args:
            directory: The run.
            step: Updates that are done and saved.
            has_data: Whether the run knows where its data is.
        """
        self.directory = directory
        self.step = step
        self.command = quoted("floq", "resume", directory)
        if not has_data:
            self.command = f"floq.resume({str(directory)!r}, dataset=dataset)"
        super().__init__(f"Interrupted; saved at step {step}. Continue with: {self.command}")
