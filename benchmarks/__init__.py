"""Speed and memory of the field against the plain arithmetic it replaces; `make bench`."""

import os

from ovnerf.runtime.allocator import keep_freed_memory

# As `ovnerf.cli` does, before torch is imported. Both paths thus run without the page faults of a
# default allocator, which a GPU's does not have either.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
keep_freed_memory()
