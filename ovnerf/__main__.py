"""`python -m ovnerf`."""

import sys

from ovnerf.cli import main

if __name__ == "__main__":
    sys.exit(main())
