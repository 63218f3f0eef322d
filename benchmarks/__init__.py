"""Speed and memory of the field against the plain arithmetic it replaces; `make bench`."""
