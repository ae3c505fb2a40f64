"""What Ctrl-C, SIGTERM and SIGHUP do to a command that trains, before training takes them over."""

import contextlib
import os
import signal
from collections.abc import Iterator

from floq.shell import EXIT_INTERRUPTED
from floq.workers import handled, stop_signals

_TRAININGS = {"train", "resume", "finetune", "study"}


@contextlib.contextmanager
def signals_before_training(command: str) -> Iterator[None]:
    """Ends a training command at once, with the status 75, while there is nothing to save.

    Modules are imported and data is read before the first update; a scheduler that asks for the end
    then must see the same status as later. Other commands keep Python's ways.
    """
    if command not in _TRAININGS:
        yield
        return

    def leave(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        # Not sys.exit: half-imported modules would make an error of it.
        said = f"\n{name} before the first update: nothing is lost, start again.\n"
        with contextlib.suppress(OSError):  # The terminal may be gone.
            os.write(2, said.encode())
        os._exit(EXIT_INTERRUPTED)

    with handled(leave, stop_signals()):
        yield
