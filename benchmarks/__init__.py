"""Speed and memory of the field against the plain arithmetic it replaces; `make bench`."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as `ovnerf.cli` does, before torch is imported
