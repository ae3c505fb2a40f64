"""Standard output and error, which may be closed, full, without a reader, or know ASCII alone."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator


def prepare_streams() -> None:
    """Makes the standard streams safe to write to, at the start of a command.

    What is closed leads nowhere, since a file that is opened would otherwise take its number, and
    with it what a library prints. What an encoding does not know is shown as a question mark.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number, this one; processes that are started inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_read() -> bool:
    """Whether somebody may read standard output: it is neither closed nor led to nowhere."""
    return not os.path.samestat(os.fstat(1), os.stat(os.devnull))  # noqa: PTH116


def complain(message: object) -> None:
    """Prints on standard error; does nothing where that cannot be written."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Prints on standard output what work does not depend on, in letters that it has.

    In Python, too, where the streams are the user's own and were not prepared.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError):
        print(message.encode(encoding, "replace").decode(encoding))


def finish_streams(status: int) -> int:
    """Writes what is left to the streams, at the end of a command, and gives its exit status.

    Args:
        status: The command's own; output that nobody reads to its end makes 141 of it, SIGPIPE's,
            and output that could not be written 2, with a word on standard error.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 141  # Whoever reads has enough, as `head` does.
        _lead_nowhere(1)
    except OSError as error:
        complain(f"floq: standard output cannot be written ({error.strerror}).")
        status = status or 2
        _lead_nowhere(1)
    try:
        sys.stderr.flush()
    except OSError:
        _lead_nowhere(2)
    return status


def _lead_nowhere(number: int) -> None:
    """Lets Python's own last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


@contextlib.contextmanager
def warnings_in_words() -> Iterator[None]:
    """Shows each warning once, as a sentence: users cannot mend the line that it comes from."""
    said: set[str] = set()

    def sentence(message: object, *_: object, **__: object) -> str:
        text = f"floq: {message}\n"
        shown = "" if text in said else text
        said.add(text)
        return shown

    former, warnings.formatwarning = warnings.formatwarning, sentence
    try:
        yield
    finally:
        warnings.formatwarning = former
