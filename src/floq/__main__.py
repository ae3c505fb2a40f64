"""`python -m floq`: the command line, of the Python that is named."""

import sys

from floq.cli import main

if __name__ == "__main__":
    sys.exit(main())
