"""A training that was asked to stop, and how to go on with it."""

from pathlib import Path

from floq.plugins import command


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
        self.command = command("resume", directory)
        if not has_data:
            self.command = f"floq.resume({str(directory)!r}, dataset=dataset)"
        super().__init__(f"Interrupted; saved at step {step}. Continue with: {self.command}")
