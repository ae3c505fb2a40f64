"""`floq` and `python -m floq`: the command line, of the Python that is named."""

import sys


def command() -> int:
    """Runs a command, and gives its exit status; Ctrl-C ends it while it is imported, too."""
    try:
        from floq.cli import main
    except KeyboardInterrupt:
        print("floq: stopped.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(command())
