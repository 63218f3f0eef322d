"""`python -m ovnerf`."""

import os
import sys

from ovnerf.cli import main

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking torch apart module by module costs every job half a second; the system does it at once.
    os._exit(code)
